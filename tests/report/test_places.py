"""Accuracy by place in the chunk, from evaluation files to the picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memlab.report.collect import Point, collect
from memlab.report.places import MOST, places_figure
from memlab.report.plotting import save_drawn
from memlab.storage.files import read_json, write_json
from tests.report.conftest import SCORE

PLACES = {"loss": [0.0, 4.0, 2.0], "correct": [0.0, 1.0, 4.0], "count": [0.0, 4.0, 4.0]}


def with_places(point: Point, places: dict[str, Any]) -> Point:
    path = Path(point["folder"]) / SCORE
    write_json(path, {**read_json(path), "places": places})
    return point


def test_rows_have_the_metrics_by_place(make_point: Callable[..., Point]) -> None:
    [row] = collect([with_places(make_point("curriculum", 0.9), {"copy": PLACES})])
    assert row["places"] == {"": {"token_accuracy": [None, 0.25, 1.0], "cross_entropy": [None, 1.0, 0.5]}}
    both = {"clm": PLACES, "copy": PLACES}
    [row] = collect([with_places(make_point("trainable", 0.9, tables=("clm", "copy")), both)])
    assert set(row["places"]) == {"clm", "copy"}
    [row] = collect([make_point("blank_copy", 0.9)])
    assert row["places"] == {}


def test_the_picture_has_a_panel_per_table_and_architecture(make_point: Callable[..., Point], tmp_path: Path) -> None:
    expected: dict[str, Any] = {"arms": {"curriculum": {"label": "a curriculum"}, "trainable": {"curve": False}}}
    points = [
        with_places(make_point(arm, 0.9, seed, architecture), {"copy": PLACES})
        for arm in expected["arms"]
        for architecture in ("mixer", "transformer")
        for seed in range(2)
    ]
    rows = collect(points)
    figure = places_figure(rows, expected)
    assert figure is not None
    assert [axis.get_title() for axis in figure.axes] == ["mixer", "transformer"]
    for axis in figure.axes:
        [line] = axis.lines
        assert list(line.get_xdata()) == [2, 3] and list(line.get_ydata()) == pytest.approx([25, 100])
    folder = tmp_path / "pictures"
    folder.mkdir()
    save_drawn(places_figure, [{**row, "places": {}} for row in rows], expected, folder / "figure_places.png")
    assert not list(folder.iterdir())
    save_drawn(places_figure, rows, expected, folder / "figure_places.png")
    assert {path.suffix for path in folder.iterdir()} == {".png", ".svg", ".pdf"}


def test_more_lines_than_can_be_told_apart_are_not_drawn(make_point: Callable[..., Point]) -> None:
    arms: dict[str, dict[str, Any]] = {f"arm_{number}": {"label": f"arm {number}"} for number in range(MOST + 1)}
    (row,) = collect([with_places(make_point("curriculum", 0.9), {"copy": PLACES})])
    rows = [{**row, "arm": arm} for arm in arms]
    assert places_figure(rows, {"arms": arms}) is None
    arms["arm_0"]["curve"] = False
    assert places_figure(rows, {"arms": arms}) is not None

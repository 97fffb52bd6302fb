"""Figures show every arm, number and published value, and no label lies on another."""

from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from memlab.config import paths
from memlab.report.collect import Row
from memlab.report.colours import COLOURS
from memlab.report.curves import spread
from memlab.report.dots import dot_chart
from memlab.report.expected import load_expected
from memlab.report.layout import cost_figure, results_figure, standard_figures
from memlab.report.plotting import STYLE, Panel, looks_of, message
from memlab.report.units import PUBLISHED
from tests.report.test_curves import stage

ARMS = {f"arm{i}": {"label": f"an arm with quite a long name, {i}"} for i in range(9)}
ACCURACY = Panel("token_accuracy", "token accuracy of copying")
LOSS = Panel("cross_entropy", "cross-entropy")


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with rc_context(STYLE):
        yield


def expected(**more: Any) -> dict[str, Any]:
    return {"arms": ARMS, "published": [], **more}


def rows(architectures: tuple[str, ...], seeds: int) -> list[Row]:
    return [
        {
            "arm": arm,
            "architecture": architecture,
            "seed": seed,
            "token_accuracy": 0.99 - 0.1 * place - 0.005 * seed,
            "cross_entropy": 0.5 * place + 0.01 * seed,
            "stages": [stage([0.1, 0.5, 0.8 - 0.05 * place])],
        }
        for architecture in architectures
        for place, arm in enumerate(ARMS)
        for seed in range(seeds)
    ]


def texts(figure: Figure) -> list[Text]:
    """What is written outside the axes' ticks."""
    FigureCanvasAgg(figure).draw()
    shown = [axis for axis in figure.axes if axis.get_visible()]
    found = [text for axis in shown for text in (*axis.texts, axis.title, axis.xaxis.label, axis.yaxis.label)]
    found += [figure._suptitle] if figure._suptitle else []  # type: ignore[attr-defined]
    found += [text for legend in figure.legends for text in (*legend.get_texts(), legend.get_title())]
    found += [label for axis in shown for label in axis.get_yticklabels() if axis.get_yticks().size]
    return [text for text in found if text.get_text()]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("architectures", [("mixer",), ("mixer", "transformer")])
@pytest.mark.parametrize("make", [cost_figure, results_figure])
def test_no_text_lies_on_another_or_outside(make: Any, architectures: tuple[str, ...], seeds: int) -> None:
    figure = make(rows(architectures, seeds), expected(), (ACCURACY, LOSS))
    # Text's own extent: an annotation's has the line that leads to it, too.
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts(figure)]
    for (one, box), (other, second) in combinations(boxes, 2):
        assert not box.padded(-1).overlaps(second.padded(-1)), f"{one!r} lies on {other!r}"
    for name, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0, name
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, name


def test_published_values_are_crosses_where_arm_and_architecture_agree() -> None:
    entries = [
        {"arm": "arm2", "architecture": "mixer", "metric": "token_accuracy", "value": 0.61},
        {"arm": "arm3", "architecture": "transformer", "metric": "token_accuracy", "value": 0.62},  # of no row of ours
        {"arm": "arm3", "architecture": "mixer", "metric": "entropy_ratio", "value": 0.63},
    ]
    axis = Figure().subplots()
    ours = rows(("mixer",), 3)
    dot_chart(axis, ours, expected(published=entries), ACCURACY, looks_of(ours, expected()))
    crosses = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_label() == PUBLISHED]
    assert crosses == [(61, 2)]


@pytest.mark.parametrize(("seeds", "title"), [(1, "after training"), (3, "after training, 95 % intervals")])
def test_a_dot_chart_says_whether_it_has_intervals(seeds: int, title: str) -> None:
    axis = Figure().subplots()
    ours = rows(("mixer",), seeds)
    dot_chart(axis, ours, expected(), ACCURACY, looks_of(ours, expected()))
    assert axis.get_title() == title
    assert [text.get_text() for text in axis.texts[:2]] == [
        f"{99 - 0.5 * (seeds - 1) / 2:.1f}",
        f"{89 - 0.5 * (seeds - 1) / 2:.1f}",
    ]


def test_a_metric_that_is_not_validated_has_no_curves(tmp_path: Path) -> None:
    ours = [{**row, "tokens_per_second": 5.0 + row["seed"]} for row in rows(("mixer",), 3)]
    standard_figures(ours, expected(), tmp_path / "figure.png", Panel("tokens_per_second", "speed"))
    assert {path.name for path in tmp_path.iterdir()} == {"figure.png", "figure.svg", "figure.pdf"}
    assert "validation speed" not in (tmp_path / "figure.svg").read_text()


def test_an_arm_looks_the_same_whichever_others_are_there() -> None:
    everything = rows(("mixer",), 1)
    some = [row for row in everything if row["arm"] in ("arm3", "arm7")]
    looks = looks_of(everything, expected())
    assert looks_of(some, expected()) == {arm: looks[arm] for arm in ("arm3", "arm7")}
    assert len({(look.colour, look.dash) for look in looks.values()}) == len(looks)


def test_an_arm_has_the_colour_that_its_page_gives() -> None:
    arms: dict[str, Any] = {
        "arm0": {"colour": "blue", "short": "zero"},
        "arm1": {"colour": "blue", "curve": False},
        "arm2": {"colour": "blue"},
    }
    looks = looks_of(rows(("mixer",), 1), {"arms": arms})
    blue = [(looks[arm].colour, looks[arm].dash, looks[arm].short, looks[arm].curve) for arm in arms]
    assert [look[0] for look in blue] == [COLOURS["blue"]] * 3
    assert [look[1:] for look in blue] == [("-", "zero", True), ("-", "arm1", False), ("--", "arm2", True)]


def test_colours_are_few_and_an_arm_has_the_same_one_everywhere() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted(paths.experiments().glob("*/expected.yaml")):
        arms = load_expected(path)["arms"]
        assert len({about.get("colour") for about in arms.values()}) <= 8
        for arm, about in arms.items():
            found.setdefault(arm, set()).add(about.get("colour", ""))
    assert not {arm: colours for arm, colours in found.items() if len(colours) > 1}


def test_the_title_tells_what_came_out() -> None:
    both = rows(("mixer", "transformer"), 1)
    told = expected(title="the experiment", message="{arm0} of the tokens, not {arm2}")
    assert message(both, told, "token_accuracy") == "99 and 99% of the tokens, not 79 and 79% (mixers and transformers)"
    assert message(rows(("mixer",), 1), told, "token_accuracy") == "99% of the tokens, not 79% (mixers)"
    other = expected(title="the experiment", message="{arm0} and {arm2:cross_entropy} nats")
    assert message(rows(("mixer",), 1), other, "token_accuracy") == "99% and 1.000 nats (mixers)"
    unknown = expected(title="the experiment", message="{arm0:unknown}")
    assert message(both, unknown, "token_accuracy") == "the experiment"
    some = [row for row in both if row["arm"] != "arm2"]
    assert message(some, told, "token_accuracy") == "the experiment"
    assert message(both, expected(title="the experiment"), "token_accuracy") == "the experiment"


def test_names_beside_lines_keep_their_order_and_clear_of_each_other() -> None:
    places = spread([0.1, 0.5, 0.52, 0.53, 0.95], [0.1] * 5)
    assert places == pytest.approx([0.1, 0.5167 - 0.1, 0.5167, 0.5167 + 0.1, 0.95], abs=1e-3)
    assert all(after - before >= 0.1 - 1e-9 for before, after in pairwise(spread([0.5] * 4 + [0.6], [0.1] * 5)))


def test_the_cost_figure_tells_its_axes_and_what_its_bands_are() -> None:
    written = " ".join(text.get_text() for text in texts(cost_figure(rows(("mixer",), 3), expected(), (ACCURACY,))))
    for part in ("(millions)", "minutes of", "decoder's stages", "bands: from the least to the greatest seed", "(%)"):
        assert part in written

"""Claims along training: differences at validations, their trend and their sign."""

from pathlib import Path
from typing import Any

import pytest

from memlab.report.along import AWAY, LEVEL, TOWARDS, courses
from memlab.report.claims_figure import claims_figure
from memlab.report.collect import Row
from memlab.report.plotting import save_drawn
from tests.report.test_curves import row, stage

CLAIM: dict[str, Any] = {
    "id": "left_above_right",
    "left": {"arm": "left", "metric": "token_accuracy"},
    "right": {"arm": "right", "metric": "token_accuracy"},
    "smallest_effect": 0.1,
}


def rows(left: list[float], right: list[float], seeds: int = 3) -> list[Row]:
    """Rows whose values differ a little between seeds."""
    found = []
    for arm, values in (("left", left), ("right", right)):
        for seed in range(seeds):
            shifted = [value + 0.001 * seed * (arm == "left") for value in values]
            found.append(row(stage(shifted), arm=arm, seed=seed) | {"token_accuracy": shifted[-1]})
    return found


@pytest.mark.parametrize(
    ("left", "verdicts", "trend", "sign"),
    [
        ([0.1, 0.25, 0.5], ["does not hold", "does not hold", "holds"], TOWARDS, 200),
        ([0.5, 0.25, 0.21], ["holds", "does not hold", "does not hold"], AWAY, None),
        ([0.4, 0.4, 0.4], ["holds", "holds", "holds"], LEVEL, None),
    ],
)
def test_a_course_has_a_verdict_at_every_validation(
    left: list[float], verdicts: list[str], trend: str, sign: int | None
) -> None:
    [course] = courses([CLAIM], rows(left, [0.2, 0.2, 0.2]))
    assert (course.claim, course.left, course.right) == ("left_above_right[mixer]", "left", "right")
    assert course.steps == [100, 200, 300] and course.shares == pytest.approx([1 / 3, 2 / 3, 1])
    assert [found.value for found in course.found] == pytest.approx([value + 0.001 - 0.2 for value in left])
    assert (course.verdicts, course.trend, course.sign_changes) == (verdicts, trend, sign)


def test_stages_of_other_lengths_are_compared_after_the_same_share() -> None:
    own = rows([0.1, 0.3, 0.5], [0.2, 0.2, 0.2])
    for one in own:
        if one["arm"] == "right":
            [only] = one["stages"]
            only["steps"], only["curve"]["steps"] = 600, [100, 200, 300, 400, 500, 600]
            only["curve"]["token_accuracy"] = [0.9, 0.2, 0.9, 0.2, 0.9, 0.2]
    [course] = courses([CLAIM], own)
    assert [found.value for found in course.found] == pytest.approx([-0.099, 0.101, 0.301])


def test_there_is_no_course_without_three_seeds_or_validations_of_the_metric() -> None:
    assert not courses([CLAIM], rows([0.1, 0.2, 0.3], [0.2] * 3, seeds=2))
    other = {**CLAIM, "left": {"arm": "left", "metric": "bits"}, "right": {"arm": "right", "metric": "bits"}}
    measured = [one | {"bits": 1.0} for one in rows([0.1, 0.2, 0.3], [0.2] * 3)]
    assert not courses([other], measured)
    assert not courses([{**CLAIM, "right": {"value": 0.2}}], rows([0.1, 0.2, 0.3], [0.2] * 3))


def test_the_metric_of_a_model_with_one_table_goes_by_its_plain_name() -> None:
    own = [one | {"clm/token_accuracy": one["token_accuracy"]} for one in rows([0.1, 0.2, 0.3], [0.2] * 3)]
    sides = {side: {"arm": side, "metric": "clm/token_accuracy"} for side in ("left", "right")}
    assert len(courses([{**CLAIM, **sides}], own)) == 1
    assert not courses([{**CLAIM, **sides}], [one | {"clm/token_accuracy": 0.9} for one in own]), "another quantity"


def test_the_picture_has_a_panel_per_claim(tmp_path: Path) -> None:
    own = rows([0.1, 0.3, 0.5], [0.2, 0.2, 0.2])
    own += [one | {"architecture": "transformer"} for one in own]
    expected = {"claims": [CLAIM, {**CLAIM, "id": "another_claim"}]}
    figure = claims_figure(own, expected)
    assert figure is not None
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == ["left above right", "another claim"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mixer", "transformer"]
    save_drawn(claims_figure, own[:2], expected, tmp_path / "figure_claims.png")
    assert not list(tmp_path.iterdir()), "two seeds have no course"
    save_drawn(claims_figure, own, expected, tmp_path / "figure_claims.png")
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg", ".pdf"}

"""Curves over seeds and stages, by steps, tokens and wall time."""

from typing import Any

import pytest
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.curves import draw_curves, mean_curve
from memlab.report.plotting import Look, Panel


def stage(values: list[float | None], seconds: float = 60.0, of: str = "decoder") -> dict[str, Any]:
    """300 steps, 3 million tokens; validations at 100, 200, 300 steps, a third of the time each."""
    costs = {"steps": 300, "tokens": 3_000_000, "seconds": seconds}
    curve = {key: [cost * part / 3 for part in (1, 2, 3)] for key, cost in costs.items()}
    return {"run": "r", "name": "n", "of": of, **costs, "curve": {**curve, "token_accuracy": values}}


def row(*stages: dict[str, Any], arm: str = "a", seed: int = 0) -> Row:
    return {"arm": arm, "architecture": "mixer", "seed": seed, "stages": list(stages)}


@pytest.mark.parametrize(
    ("cost", "x"),
    [("steps", [100, 200, 300, 400, 500, 600]), ("tokens", [1, 2, 3, 4, 5, 6]), ("seconds", [1, 2, 3, 5, 7, 9])],
)
def test_stages_follow_each_other_and_the_encoders_are_left_out(cost: str, x: list[float]) -> None:
    one = row(stage([0.9] * 3, of="encoder"), stage([0.1, 0.2, 0.3], 180), stage([0.4, 0.5, 0.6], 360))
    curve = mean_curve([one], "token_accuracy", cost)
    assert curve is not None
    assert curve.x == pytest.approx(x)
    assert curve.mean == pytest.approx([10, 20, 30, 40, 50, 60])
    assert curve.turns == [2]


def test_seeds_give_a_mean_and_a_band_at_their_mean_time() -> None:
    rows = [row(stage([0.1, 0.2, 0.3], 60)), row(stage([0.3, 0.6, 0.9], 180), seed=1)]
    curve = mean_curve(rows, "token_accuracy", "seconds")
    assert curve is not None and curve.seeds == 2
    assert curve.x == pytest.approx([2 / 3, 4 / 3, 2])
    assert curve.mean == pytest.approx([20, 40, 60])
    assert curve.low == pytest.approx([10, 20, 30]) and curve.high == pytest.approx([30, 60, 90])


def test_validations_that_a_seed_lacks_are_left_out() -> None:
    rows = [row(stage([0.1, None, 0.3])), row(stage([0.3, 0.6, 0.9]), seed=1)]
    curve = mean_curve(rows, "token_accuracy", "steps")
    assert curve is not None
    assert curve.x == pytest.approx([100, 300])


def test_a_metric_that_no_validation_has_gives_no_curve() -> None:
    assert mean_curve([row(stage([0.1, 0.2, 0.3]))], "clm/token_accuracy", "steps") is None


def test_a_panel_may_name_the_metric_of_curves_by_arm() -> None:
    rows = [row(stage([0.1, 0.2, 0.3])), row(stage([0.4, 0.5, 0.6]), arm="b"), row(stage([0.7] * 3), arm="c")]
    rows[1]["stages"][0]["curve"]["clm/token_accuracy"] = [0.9, 0.9, 0.9]
    curves = {"a": "token_accuracy", "b": "clm/token_accuracy"}
    panel = Panel("clm/token_accuracy", "next-token accuracy", curves=curves)
    axis = Figure().subplots()
    looks = {arm: Look(arm, arm, "#000000", "-", True) for arm in "abc"}
    assert draw_curves(axis, rows, panel, looks, "steps") == 1
    drawn = {
        line.get_label(): list(line.get_ydata()) for line in axis.lines if not str(line.get_label()).startswith("_")
    }
    assert drawn == {"a": pytest.approx([10, 20, 30]), "b": pytest.approx([90, 90, 90])}
    assert axis.get_ylabel() == "validation next-token accuracy (%)"

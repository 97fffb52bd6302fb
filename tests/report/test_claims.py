"""Claims are judged by effect and interval, corrected for their number, and left open where rows are missing."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

from memlab.config import paths
from memlab.report.claims import evaluate
from memlab.report.collect import Point, collect
from memlab.report.expected import load_expected
from memlab.report.uncertainty import estimate

MakePoint = Callable[..., Point]


def sums(value: float) -> dict[str, object]:
    return {"correct": [value] * 4, "count": [1] * 4, "data": "text", "window": 8}


def claim(**more: object) -> dict[str, object]:
    sides = {
        key: {"arm": arm, "metric": "token_accuracy"} for key, arm in (("left", "curriculum"), ("right", "blank_copy"))
    }
    return {"id": "x", "text": "t", "source": "s", "smallest_effect": 0.05, **sides, **more}


@pytest.mark.parametrize(("left", "holds"), [(0.9, True), (0.83, False), (0.7, False)])
def test_effect_must_reach_the_smallest(make_point: MakePoint, left: float, holds: bool) -> None:
    [found] = evaluate([claim()], collect([make_point("curriculum", left), make_point("blank_copy", 0.8)]))
    assert (found["id"], found["holds"]) == ("x[mixer]", holds)
    measured = found["measured"]
    assert measured["difference"] == pytest.approx(left - 0.8, abs=1e-2)
    assert measured["left"]["value"] == pytest.approx(left, abs=1e-2)
    assert measured["interval"][0] <= measured["difference"] <= measured["interval"][1]
    assert measured["method"].startswith("paired bootstrap") and measured["seeds"] == [0]


def test_interval_must_exclude_a_negative_difference(make_point: MakePoint) -> None:
    points = [make_point("curriculum", value, seed) for seed, value in enumerate((0.3, 0.6, 0.7))]
    points += [make_point("blank_copy", 0.4, seed) for seed in range(3)]
    [found] = evaluate([claim()], collect(points))
    assert found["measured"]["difference"] > 0.05
    assert found["measured"]["interval"][0] < 0
    assert found["holds"] is False and found["verdict"] == "undecided"


@pytest.mark.parametrize(("left", "holds"), [(0.86, True), (0.795, True), (0.7, False)])
def test_a_negative_effect_asks_for_not_worse_by_more(make_point: MakePoint, left: float, holds: bool) -> None:
    rows = collect([make_point("curriculum", left), make_point("blank_copy", 0.8)])
    [found] = evaluate([claim(smallest_effect=-0.02)], rows)
    assert found["holds"] is holds


def test_not_worse_needs_the_interval_above_the_effect_too(make_point: MakePoint) -> None:
    points = [make_point("curriculum", value, seed) for seed, value in enumerate((0.7, 0.8, 0.9))]
    points += [make_point("blank_copy", 0.8, seed) for seed in range(3)]
    [found] = evaluate([claim(smallest_effect=-0.02)], collect(points))
    assert found["measured"]["difference"] > -0.02 > found["measured"]["interval"][0]
    assert found["holds"] is False and found["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.90, 0.91, 0.92), "holds"),
        ((0.80, 0.86, 0.86), "undecided"),  # a little too small an effect, in an interval that reaches further
        ((0.80, 0.81, 0.82), "does not hold"),
    ],
)
def test_a_claim_is_undecided_while_its_interval_reaches_the_effect(
    make_point: MakePoint, values: tuple[float, ...], verdict: str
) -> None:
    points = [make_point("curriculum", value, seed) for seed, value in enumerate(values)]
    points += [make_point("blank_copy", 0.8, seed) for seed in range(3)]
    [found] = evaluate([claim()], collect(points))
    assert found["verdict"] == verdict and found["holds"] is (verdict == "holds")


@pytest.mark.parametrize(("seeds", "error"), [(1, None), (2, 0.1), (3, 0.1 / 3**0.5)])
def test_the_margin_is_told_in_errors_over_seeds(seeds: int, error: float | None) -> None:
    rows = [
        {"arm": arm, "seed": seed, "token_accuracy": value, "windows": {"": sums(value)}}
        for arm, values in (("curriculum", (0.7, 0.9, 0.8)), ("blank_copy", (0.5, 0.5, 0.5)))
        for seed, value in enumerate(values[:seeds])
    ]
    [found] = evaluate([claim(smallest_effect=0.1)], rows)
    measured = found["measured"]
    assert measured["seed_error"] == (error if error is None else pytest.approx(error))
    for key, value in (("difference_se", measured["difference"]), ("margin_se", measured["difference"] - 0.1)):
        assert measured[key] == (error if error is None else pytest.approx(value / error))


def test_seeds_that_agree_have_no_margin_in_errors() -> None:
    rows = [
        {"arm": arm, "seed": seed, "token_accuracy": value}
        for arm, value in (("curriculum", 0.8), ("blank_copy", 0.5))
        for seed in range(3)
    ]
    [found] = evaluate([claim()], rows)
    assert found["holds"] is True and found["measured"]["margin_se"] is None


def test_the_sides_of_a_claim_may_name_different_tables(make_point: MakePoint) -> None:
    rows = collect([make_point("trainable", 0.9, tables=("clm", "copy")), make_point("no_memory", 0.6)])
    left = {"arm": "trainable", "metric": "copy/token_accuracy"}
    [found] = evaluate([claim(left=left, right={"arm": "no_memory", "metric": "token_accuracy"})], rows)
    assert found["measured"]["difference"] == pytest.approx(0.7 - 0.6, abs=1e-6)
    assert found["measured"]["method"].startswith("paired bootstrap") and found["holds"] is True


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("fixed", "left", "verdict"),
    [(0.8, False, "holds"), (0.95, False, "does not hold"), (0.95, True, "holds"), (0.8, True, "does not hold")],
)
def test_a_side_may_be_a_fixed_value(make_point: MakePoint, fixed: float, left: bool, verdict: str, seeds: int) -> None:
    rows = collect([make_point("curriculum", value, seed) for seed, value in enumerate((0.9, 0.91, 0.89)[:seeds])])
    sides: list[dict[str, object]] = [{"value": fixed}, {"arm": "curriculum", "metric": "token_accuracy"}]
    sides = sides if left else sides[::-1]
    [found] = evaluate([claim(left=sides[0], right=sides[1], smallest_effect=0.0)], rows)
    measured = found["measured"]
    assert measured["difference"] == pytest.approx((fixed - 0.9) * (1 if left else -1), abs=1e-3)
    assert found["verdict"] == verdict and (found["p_value"] < 0.025) is (verdict == "holds")
    assert measured["right" if not left else "left"] == {"value": fixed, "metric": "token_accuracy"}
    own = estimate(rows, "token_accuracy")
    width = measured["interval"][1] - measured["interval"][0]
    assert width == pytest.approx(own.high - own.low), "the interval is the other side's own"


@pytest.mark.parametrize(("needed", "bound"), [(0.05, 0.0), (-0.02, -0.02)])
def test_the_p_value_is_that_of_the_test_behind_the_verdict(needed: float, bound: float) -> None:
    left, right = np.array([0.86, 0.90, 0.91]), np.array([0.80, 0.81, 0.86])
    sides = (("curriculum", left), ("blank_copy", right))
    rows = [
        {"arm": arm, "seed": seed, "token_accuracy": value}
        for arm, values in sides
        for seed, value in enumerate(values)
    ]
    [found] = evaluate([claim(smallest_effect=needed)], rows)
    expected = stats.ttest_rel(left - bound, right, alternative="greater").pvalue
    assert found["p_value"] == pytest.approx(expected, rel=1e-6)
    assert found["holds"] is bool(expected <= 0.025), "the effect is large enough in both cases"


def sweep(margins: Mapping[str, float]) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Claims that `arm` beats `base`, and rows of three seeds that differ by `spread(margin)`."""
    claims = [claim(id=arm, left={"arm": arm, "metric": "x"}, right={"arm": "base", "metric": "x"}) for arm in margins]
    rows: list[dict[str, object]] = [{"arm": "base", "seed": seed, "x": 0.0} for seed in range(3)]
    for arm, margin in margins.items():
        rows += [{"arm": arm, "seed": seed, "x": value} for seed, value in enumerate(spread(margin))]
    return claims, rows


def spread(margin: float) -> list[float]:
    return [margin - 0.02, margin, margin + 0.02]


def test_verdicts_are_corrected_for_all_claims_that_were_tested() -> None:
    """Two claims hold by themselves, and do not after the correction for four."""
    margins = {"clear": 0.5, "close": 0.08, "closer": 0.07, "none": 0.0}
    claims, rows = sweep(margins)
    claims.append(claim(id="unmeasured"))
    found = {entry["id"]: entry for entry in evaluate(claims, rows)}
    raw = {arm: stats.ttest_1samp(spread(margin), 0, alternative="greater").pvalue for arm, margin in margins.items()}
    assert {arm: found[arm]["p_value"] for arm in margins} == pytest.approx(raw)
    assert found["clear"]["p_holm"] == pytest.approx(4 * raw["clear"])
    assert found["close"]["p_holm"] == pytest.approx(3 * raw["close"])
    assert found["closer"]["p_holm"] == pytest.approx(max(3 * raw["close"], 2 * raw["closer"]))
    assert found["none"]["p_holm"] == pytest.approx(0.5)
    assert [found[arm]["holds"] for arm in margins] == [True, True, True, False]
    assert [found[arm]["holds_after_holm"] for arm in margins] == [True, False, False, False]
    assert [found["unmeasured"][key] for key in ("p_value", "p_holm", "holds_after_holm")] == [None] * 3


def test_a_small_p_value_does_not_make_a_small_effect_hold() -> None:
    claims, rows = sweep({"small": 0.04})
    [found] = evaluate(claims, [{**row, "x": row["x"] / 100 + 0.0396 * (row["arm"] == "small")} for row in rows])
    assert found["p_holm"] == found["p_value"] < 1e-3
    assert found["holds"] is False and found["holds_after_holm"] is False


def test_a_list_of_arms_is_tested_by_its_largest_p_value() -> None:
    _, rows = sweep({"clear": 0.5, "close": 0.06})
    both = {"arm": ["clear", "close"], "metric": "x"}
    [found] = evaluate([claim(left=both, right={"arm": "base", "metric": "x"})], rows)
    pairs = {pair["left"]["arm"]: pair["p_value"] for pair in found["measured"]["pairs"]}
    assert found["p_value"] == pairs["close"] > pairs["clear"]
    [found] = evaluate([claim(left={**both, "arm": ["clear", "stranger"]}, right={"arm": "base", "metric": "x"})], rows)
    assert found["holds"] is None and found["p_value"] is None


def test_missing_rows_leave_a_claim_open(make_point: MakePoint) -> None:
    [found] = evaluate([claim()], collect([make_point("curriculum", 0.9)]))
    assert found["holds"] is None
    assert found["measured"]["reason"] == "no finished run of blank_copy"


def test_without_rows_every_claim_is_open() -> None:
    [found] = evaluate([claim()], [])
    assert (found["id"], found["holds"]) == ("x", None)


def test_every_architecture_is_asked_for_itself(make_point: MakePoint) -> None:
    points = [make_point("curriculum", 0.9), make_point("blank_copy", 0.8)]
    points += [make_point("curriculum", 0.6, architecture="transformer")]
    rows = collect(points)
    assert {c["id"]: c["holds"] for c in evaluate([claim()], rows)} == {"x[mixer]": True, "x[transformer]": None}
    assert [c["id"] for c in evaluate([claim(architectures=["mixer"])], rows)] == ["x[mixer]"]


def test_a_claim_across_architectures_is_asked_once(make_point: MakePoint) -> None:
    rows = collect([make_point("blank_copy", 0.9), make_point("blank_copy", 0.5, architecture="transformer")])
    sides = {
        key: {"arm": "blank_copy", "architecture": architecture, "metric": "token_accuracy"}
        for key, architecture in (("left", "mixer"), ("right", "transformer"))
    }
    [found] = evaluate([claim(**sides)], rows)
    assert (found["id"], found["holds"]) == ("x", True)
    assert found["measured"]["difference"] == pytest.approx(0.4, abs=1e-2)
    [found] = evaluate([claim(**sides)], rows[:1])
    assert found["measured"]["reason"] == "no finished run of blank_copy transformer"


@pytest.mark.parametrize(("direct", "holds"), [(0.5, True), (0.2, False)])
def test_a_list_of_arms_is_as_good_as_its_weakest_pair(make_point: MakePoint, direct: float, holds: bool) -> None:
    left = {"arm": ["curriculum", "direct_copy"], "metric": "token_accuracy"}
    rows = collect([make_point("curriculum", 0.9), make_point("direct_copy", direct), make_point("blank_copy", 0.3)])
    [found] = evaluate([claim(left=left)], rows)
    assert found["holds"] is holds
    assert found["measured"]["left"]["arm"] == "direct_copy"
    assert len(found["measured"]["pairs"]) == 2


def test_a_list_with_a_missing_arm_stays_open_unless_a_pair_fails(make_point: MakePoint) -> None:
    left = {"arm": ["curriculum", "direct_copy"], "metric": "token_accuracy"}
    blank = make_point("blank_copy", 0.3)
    for accuracy, holds in ((0.9, None), (0.2, False)):
        [found] = evaluate([claim(left=left)], collect([make_point("curriculum", accuracy), blank]))
        assert found["holds"] is holds


def test_a_diverged_run_leaves_the_claim_open(make_point: MakePoint) -> None:
    rows = collect([make_point("curriculum", 0.9), make_point("blank_copy", 0.8)])
    rows[0]["token_accuracy"] = float("nan")
    [found] = evaluate([claim()], rows)
    assert found["holds"] is None and "not finite" in found["measured"]["reason"]


@pytest.mark.parametrize(
    "change",
    [
        {"typo": 1},
        {"left": {"arm": "stranger", "metric": "m"}},
        {"left": {"arm": "a"}},
        {"left": {"arm": "a", "metric": "m", "architecture": "mixer"}},
        {"left": {"value": 1.0}, "right": {"value": 2.0}},
    ],
)
def test_mistakes_in_expected_yaml_are_named(tmp_path: Path, change: dict[str, object]) -> None:
    sides = {key: {"arm": "a", "metric": "m"} for key in ("left", "right")}
    path = tmp_path / "expected.yaml"
    path.write_text(yaml.safe_dump({"arms": {"a": {}}, "claims": [claim(**{**sides, **change})]}))
    with pytest.raises(ValueError, match="claim x"):
        load_expected(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arms": {"a": {"lable": "x"}}}, "unknown keys"),
        ({"arms": {"a": {"colour": "mauve"}}}, "unknown colour mauve"),
        ({"headline": {"metric": "m", "arms": ["a", "stranger"]}}, "headline: .'stranger'"),
    ],
)
def test_mistakes_in_arms_and_headline_are_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "expected.yaml"
    path.write_text(yaml.safe_dump({"arms": {"a": {"colour": "blue"}}, "claims": [], **change}))
    with pytest.raises(ValueError, match=said):
        load_expected(path)


@pytest.mark.parametrize("change", [{"arm": "stranger"}, {"typo": 1}])
def test_mistakes_in_published_values_are_named(tmp_path: Path, change: dict[str, object]) -> None:
    entry = {"arm": "a", "architecture": "mixer", "metric": "m", "value": 1.0, "source": "s", **change}
    path = tmp_path / "expected.yaml"
    path.write_text(yaml.safe_dump({"arms": {"a": {}}, "claims": [], "published": [entry]}))
    with pytest.raises(ValueError, match="published"):
        load_expected(path)


@pytest.mark.parametrize("path", sorted(paths.experiments().glob("*/expected.yaml")), ids=lambda path: path.parent.name)
def test_every_experiment_states_readable_claims_and_sources(path: Path) -> None:
    expected = load_expected(path)
    assert expected["claims"]
    for entry in [*expected["claims"], *expected["published"], *expected.get("context", [])]:
        assert entry["source"]

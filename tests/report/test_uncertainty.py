"""Intervals and p-values against scipy's own tests, and which kind is used when."""

import numpy as np
import pytest
from scipy import stats

from memlab.report.bootstrap import DRAWS
from memlab.report.collect import Row
from memlab.report.side import Side, Unmeasurable
from memlab.report.uncertainty import ALPHA, difference, estimate

LEFT, RIGHT = (0.91, 0.87, 0.95, 0.90), (0.80, 0.84, 0.86, 0.79)
TEXT = {"data": "text", "window": 32}


def row(correct: np.ndarray, seed: int = 0, count: int = 10, text: dict[str, object] = TEXT, **more: object) -> Row:
    sums = {"correct": correct.tolist(), "count": [count] * len(correct), "loss": (10 - correct).tolist()}
    accuracy = float(correct.sum() / (count * len(correct)))
    return {"seed": seed, "run": f"run{seed}", "token_accuracy": accuracy, "windows": {"": {**sums, **text}}, **more}


def side(*rows: Row) -> Side:
    return Side(rows, "token_accuracy")


def seeds(values: tuple[float, ...], first: int = 0) -> Side:
    return Side([{"seed": first + place, "x": value} for place, value in enumerate(values)], "x")


@pytest.fixture
def hardness() -> np.ndarray:
    return np.random.default_rng(1).uniform(2, 8, 400)


def test_seeds_give_the_textbook_t_interval() -> None:
    found = estimate(seeds((1.0, 2.0, 3.0)).rows, "x")
    assert found.value == 2
    assert found.standard_error == pytest.approx(1 / 3**0.5)
    # 4.303 is the 97.5 % quantile of Student's t with 2 degrees of freedom in any table.
    assert (found.low, found.high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)


@pytest.mark.parametrize("bound", [-0.02, 0.0, 0.08])
def test_a_mean_over_seeds_agrees_with_scipy(bound: float) -> None:
    found = estimate(seeds(LEFT).rows, "x")
    expected = stats.ttest_1samp(LEFT, bound, alternative="greater")
    assert found.p_value(bound) == pytest.approx(expected.pvalue, rel=1e-9)
    interval = stats.ttest_1samp(LEFT, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("bound", [-0.02, 0.0, 0.08])
def test_shared_seeds_agree_with_scipys_paired_test(bound: float) -> None:
    found = difference(seeds(LEFT), seeds(RIGHT))
    expected = stats.ttest_rel(np.array(LEFT) - bound, RIGHT, alternative="greater")
    assert found.method.startswith("paired t")
    assert found.p_value(bound) == pytest.approx(expected.pvalue, rel=1e-9)
    interval = stats.ttest_rel(LEFT, RIGHT).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("bound", [-0.02, 0.0, 0.08])
def test_other_seeds_agree_with_scipys_welch_test(bound: float) -> None:
    found = difference(seeds(LEFT), seeds(RIGHT[:3], first=10))
    expected = stats.ttest_ind(np.array(LEFT) - bound, RIGHT[:3], equal_var=False, alternative="greater")
    assert found.method.startswith("Welch")
    assert found.p_value(bound) == pytest.approx(expected.pvalue, rel=1e-9)
    interval = stats.ttest_ind(LEFT, RIGHT[:3], equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(("left", "right"), [((0.5,) * 3, (0.4,) * 3), ((0.4,) * 3, (0.5,) * 3)])
@pytest.mark.parametrize("first", [0, 10])
def test_seeds_that_agree_leave_no_doubt(left: tuple[float, ...], right: tuple[float, ...], first: int) -> None:
    """Up to rounding: scipy's own tests divide by zero here."""
    found = difference(seeds(left), seeds(right, first))
    assert found.low == pytest.approx(found.value) == pytest.approx(found.high)
    assert found.p_value(0.0) == pytest.approx(0 if left > right else 1, abs=1e-6)


def test_a_p_value_and_its_interval_agree(hardness: np.ndarray) -> None:
    """Just below the lower end of the interval the test rejects, just above it does not."""
    noise = np.random.default_rng(2).normal(0, 1, 400)
    for found in (
        difference(seeds(LEFT), seeds(RIGHT)),
        difference(seeds(LEFT), seeds(RIGHT, first=10)),
        difference(side(row(hardness + noise)), side(row(hardness))),
    ):
        width = found.high - found.low
        assert found.p_value(found.low - 0.02 * width) <= ALPHA < found.p_value(found.low + 0.02 * width)


def test_a_bootstrap_p_value_is_the_share_of_draws_below(hardness: np.ndarray) -> None:
    noise = np.random.default_rng(2).normal(0, 1, 400)
    found = difference(side(row(hardness + noise)), side(row(hardness)))
    error = noise.std() / 10 / 20  # of the mean of 400 differences, in units of accuracy
    for errors in (-1.0, 0.0, 1.0):
        bound = found.value + errors * error
        assert found.p_value(bound) == pytest.approx(stats.norm.cdf(errors), abs=0.04)
    assert found.p_value(-1.0) == 1 / (DRAWS + 1), "no smaller than the draws can tell"


def test_bootstrap_error_agrees_with_the_formula_for_a_mean(hardness: np.ndarray) -> None:
    found = estimate([row(hardness)], "token_accuracy")
    assert found.standard_error == pytest.approx(hardness.std(ddof=1) / 10 / 20, rel=0.1)
    assert found.high - found.low == pytest.approx(2 * 1.96 * found.standard_error, rel=0.1)


def test_pairing_removes_what_both_arms_share(hardness: np.ndarray) -> None:
    paired = difference(side(row(hardness + 0.1)), side(row(hardness)))
    assert paired.method.startswith("paired bootstrap")
    assert paired.standard_error < 1e-9
    assert paired.value == pytest.approx(0.01)


@pytest.mark.parametrize("text", [{"data": "other", "window": 32}, {"data": "text", "window": 64}, {}])
def test_windows_of_another_text_or_size_are_not_paired(hardness: np.ndarray, text: dict[str, object]) -> None:
    """However equal their counts are; nor windows that do not say what they are."""
    unpaired = difference(side(row(hardness)), side(row(hardness, text=text)))
    assert unpaired.method.startswith("unpaired bootstrap")
    assert unpaired.standard_error == pytest.approx(2**0.5 * hardness.std() / 10 / 20, rel=0.15)


def test_windows_are_paired_whatever_is_scored_of_them(hardness: np.ndarray) -> None:
    """Objectives may differ in the number of tokens that they score of one window."""
    fewer = row(hardness / 2, count=5)
    assert difference(side(row(hardness)), side(fewer)).method.startswith("paired bootstrap")


def test_another_number_of_windows_is_not_paired(hardness: np.ndarray) -> None:
    unpaired = difference(side(row(hardness)), side(row(hardness[:300])))
    assert unpaired.method.startswith("unpaired bootstrap")
    expected = np.hypot(hardness.std() / 20, hardness[:300].std() / 300**0.5) / 10
    assert unpaired.standard_error == pytest.approx(expected, rel=0.15)


def test_bootstrap_is_the_same_every_time(hardness: np.ndarray) -> None:
    assert estimate([row(hardness)], "token_accuracy") == estimate([row(hardness)], "token_accuracy")


def test_with_fewer_seeds_only_shared_ones_are_compared(hardness: np.ndarray) -> None:
    found = difference(side(row(hardness, 0), row(hardness + 1, 1)), side(row(hardness, 0)))
    assert found.seeds == [0]
    assert found.value == 0


def test_entropy_ratio_is_redrawn_from_losses(hardness: np.ndarray) -> None:
    entropy = float((10 - hardness).mean() / 10)
    rows = [row(hardness, entropy_ratio=1 - entropy / 6.4, cross_entropy=entropy)]
    ratio, loss = estimate(rows, "entropy_ratio"), estimate(rows, "cross_entropy")
    assert ratio.standard_error == pytest.approx(loss.standard_error / 6.4)


@pytest.mark.parametrize("name", ["token_accuracy", "cross_entropy", "entropy_ratio"])
def test_a_table_of_several_is_redrawn_from_its_own_windows(hardness: np.ndarray, name: str) -> None:
    entropy = float((10 - hardness).mean() / 10)
    values = {"cross_entropy": entropy, "entropy_ratio": 1 - entropy / 6.4}
    alone = row(hardness, **values)
    other = row(hardness[:7] / 2)
    both = {"seed": 0, "windows": {"clm": other["windows"][""], "fineweb/copy": alone["windows"][""]}}
    both |= {f"fineweb/copy/{key}": alone[key] for key in ("token_accuracy", *values)}
    assert estimate([both], f"fineweb/copy/{name}") == estimate([alone], name)


def test_the_error_over_seeds_stands_beside_an_interval_over_windows(hardness: np.ndarray) -> None:
    rows = [row(hardness, 0), row(hardness + 1, 1)]
    assert estimate(rows, "token_accuracy").seed_error == pytest.approx(0.05)  # 0.1 / sqrt(2) / sqrt(2)
    assert estimate(rows[:1], "token_accuracy").seed_error is None
    assert difference(side(*rows), side(row(hardness, 0), row(hardness, 1))).seed_error == pytest.approx(0.05)
    apart = difference(side(*rows), side(row(hardness, 2), row(hardness + 1, 3)))
    assert apart.seed_error == pytest.approx(0.05 * 2**0.5)


def test_what_windows_cannot_give_is_said() -> None:
    with pytest.raises(Unmeasurable, match="needs 3 seeds"):
        estimate([{"seed": 0, "tokens_per_second": 5.0}], "tokens_per_second")


def test_two_runs_of_one_seed_are_refused(hardness: np.ndarray) -> None:
    with pytest.raises(ValueError, match="both seed 0"):
        estimate([row(hardness), row(hardness)], "token_accuracy")

"""Intervals against closed forms, and which kind is used when."""

import numpy as np
import pytest

from memlab.report.collect import Row
from memlab.report.uncertainty import Side, Unmeasurable, difference, estimate, t_quantile


def row(correct: np.ndarray, seed: int = 0, count: int = 10, **more: object) -> Row:
    windows = {"correct": correct.tolist(), "count": [count] * len(correct), "loss": (10 - correct).tolist()}
    accuracy = float(correct.sum() / (count * len(correct)))
    return {"seed": seed, "run": f"run{seed}", "token_accuracy": accuracy, "windows": windows, **more}


def side(*rows: Row) -> Side:
    return Side(rows, "token_accuracy")


@pytest.fixture
def hardness() -> np.ndarray:
    return np.random.default_rng(1).uniform(2, 8, 400)


@pytest.mark.parametrize(("degrees", "expected"), [(2, 4.303), (4.9, 2.776), (40, 2.0211), (100, 1.9840)])
def test_t_quantile_equals_published_tables(degrees: float, expected: float) -> None:
    assert t_quantile(degrees) == pytest.approx(expected, abs=2e-4)


def test_three_seeds_give_the_textbook_t_interval() -> None:
    found = estimate([{"seed": seed, "x": value} for seed, value in enumerate((1.0, 2.0, 3.0))], "x")
    assert found.value == 2
    assert found.standard_error == pytest.approx(1 / 3**0.5)
    assert (found.low, found.high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5))


def test_bootstrap_error_agrees_with_the_formula_for_a_mean(hardness: np.ndarray) -> None:
    found = estimate([row(hardness)], "token_accuracy")
    assert found.standard_error == pytest.approx(hardness.std(ddof=1) / 10 / 20, rel=0.1)
    assert found.high - found.low == pytest.approx(2 * 1.96 * found.standard_error, rel=0.1)


def test_pairing_removes_what_both_arms_share(hardness: np.ndarray) -> None:
    paired = difference(side(row(hardness + 0.1)), side(row(hardness)))
    assert paired.method.startswith("paired bootstrap")
    assert paired.standard_error < 1e-9
    assert paired.value == pytest.approx(0.01)


def test_windows_that_differ_are_not_paired(hardness: np.ndarray) -> None:
    unpaired = difference(side(row(hardness)), side(row(hardness[:300])))
    assert unpaired.method.startswith("unpaired bootstrap")
    expected = np.hypot(hardness.std() / 20, hardness[:300].std() / 300**0.5) / 10
    assert unpaired.standard_error == pytest.approx(expected, rel=0.15)


def test_bootstrap_is_the_same_every_time(hardness: np.ndarray) -> None:
    assert estimate([row(hardness)], "token_accuracy") == estimate([row(hardness)], "token_accuracy")


def test_seeds_are_paired_when_three_are_shared() -> None:
    left = Side([{"seed": seed, "x": value} for seed, value in enumerate((1.1, 2.1, 3.1))], "x")
    right = Side([{"seed": seed, "x": value} for seed, value in enumerate((1.0, 2.0, 3.0))], "x")
    found = difference(left, right)
    assert found.method.startswith("paired t")
    assert found.standard_error < 1e-9


def test_welch_when_three_seeds_each_are_not_shared() -> None:
    left = Side([{"seed": seed, "x": value} for seed, value in enumerate((1.0, 2.0, 3.0))], "x")
    right = Side([{"seed": seed + 5, "x": value} for seed, value in enumerate((1.0, 2.0, 3.0))], "x")
    found = difference(left, right)
    assert found.standard_error == pytest.approx((2 / 3) ** 0.5)
    assert found.high == pytest.approx(2.776 * (2 / 3) ** 0.5)  # equal variances: 4 degrees of freedom


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
    both = {"seed": 0, "windows": {"clm": other["windows"], "copy": alone["windows"]}}
    both |= {f"copy/{key}": alone[key] for key in ("token_accuracy", *values)}
    assert estimate([both], f"copy/{name}") == estimate([alone], name)


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

"""Estimates with 95 % intervals: over seeds where there are three or more, else over evaluation windows.

The two kinds of interval answer different questions. Over seeds: would another training run agree? Over windows: would
other text agree, with these very weights? The second one leaves out the spread between training runs, which makes it
narrower. `method` says which of them a number carries.

Formulas: Student's t for the mean of n values with n - 1 degrees of freedom; for two independent means Welch's t with
the degrees of freedom of Welch and Satterthwaite; a percentile bootstrap over windows (memlab/report/bootstrap.py).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from memlab.report.bootstrap import draws_of, same_windows
from memlab.report.collect import Row
from memlab.report.side import SEEDS_FOR_T, Floats, Side, Unmeasurable

LEVEL = 0.95
ALPHA = (1 - LEVEL) / 2  # of a one-sided test that agrees with the interval


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and 95 % interval [low, high], in the metric's own unit.

    standard_error belongs to the interval, over seeds or over windows. seed_error is the standard error over seeds in
    either case; None with one seed. p_value(bound) is that of the one-sided test of "the true value is at most
    `bound`": it is at most ALPHA where `low` is above the bound, by the same distribution.
    """

    value: float
    standard_error: float
    low: float
    high: float
    method: str
    seeds: list[int]
    seed_error: float | None
    p_value: Callable[[float], float] = field(compare=False, repr=False)


def estimate(rows: Sequence[Row], metric: str) -> Estimate:
    """Return the mean of `metric` over the seeds in `rows`.

    Raises:
        Unmeasurable: no row has the metric, or it has too few seeds and cannot be recomputed per window.
    """
    return _from_fixed(Side(rows, metric), 0.0, 1)


def difference(left: Side | float, right: Side | float) -> Estimate:
    """Return left - right, seed by seed where the two sides share seeds (arms of one seed share their encoder).

    One of the two may be a fixed value: then the interval is that of the other side, as `estimate` gives it.

    Three shared seeds or more: paired t interval. Otherwise three seeds or more on each side: Welch's t interval.
    Otherwise a bootstrap over windows, of the shared seeds if there are any: the same windows on both sides where both
    were evaluated on the same windows of text, else independent draws.

    Raises:
        Unmeasurable: see `estimate`.
    """
    if isinstance(right, float):
        assert isinstance(left, Side), left
        return _from_fixed(left, right, 1)
    if isinstance(left, float):
        return _from_fixed(right, left, -1)
    left_seeds, right_seeds = _seeds(left), _seeds(right)
    shared = [seed for seed in left_seeds if seed in right_seeds]
    if len(shared) >= SEEDS_FOR_T:
        values = left.values(shared) - right.values(shared)
        return _t_interval(values, shared, f"paired t interval over {len(shared)} seeds")
    if min(len(left_seeds), len(right_seeds)) >= SEEDS_FOR_T:
        return _welch(left.values(left_seeds), right.values(right_seeds), sorted({*left_seeds, *right_seeds}))
    if shared:
        left_seeds = right_seeds = shared
    sides = left.values(left_seeds), right.values(right_seeds)
    seed_error = standard_error(sides[0] - sides[1]) if shared else _unpaired_error(*sides)
    paired = left_seeds == right_seeds and all(same_windows(left, right, seed) for seed in left_seeds)
    draws = draws_of(left, left_seeds) - draws_of(right, right_seeds, stream=0 if paired else 1)
    method = f"{'paired' if paired else 'unpaired'} bootstrap over evaluation windows"
    value = sides[0].mean() - sides[1].mean()
    return _from_draws(value, draws, sorted({*left_seeds, *right_seeds}), method, seed_error)


def seed_values(rows: Sequence[Row], metric: str) -> Floats:
    """Return the metric of each seed in `rows`, in order of seeds; empty if no row has it."""
    side = Side(rows, metric)
    return side.values(list(side.by_seed()))


def standard_error(values: Floats) -> float | None:
    """Return the standard error of the mean; None for fewer than two values."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) >= 2 else None


def _seeds(side: Side) -> list[int]:
    seeds = list(side.by_seed())
    if not seeds:
        raise Unmeasurable(f"no finished run has {side.metric}")
    return seeds


def _from_fixed(side: Side, fixed: float, sign: int) -> Estimate:
    """Return sign * (side - fixed)."""
    seeds = _seeds(side)
    values = sign * (side.values(seeds) - fixed)
    if len(seeds) >= SEEDS_FOR_T:
        return over_seeds(values, seeds)
    draws = sign * (draws_of(side, seeds) - fixed)
    return _from_draws(values.mean(), draws, seeds, "bootstrap over evaluation windows", standard_error(values))


def over_seeds(values: Floats, seeds: list[int]) -> Estimate:
    """Return the mean of one value per seed, with its t interval. Three seeds or more."""
    return _t_interval(values, seeds, f"t interval over {len(seeds)} seeds")


def _t_interval(values: Floats, seeds: list[int], method: str) -> Estimate:
    error = standard_error(values)
    assert error is not None, values
    return _student(float(values.mean()), error, len(values) - 1, seeds, method)


def _welch(left: Floats, right: Floats, seeds: list[int]) -> Estimate:
    """Return the difference of two independent means; their variances may differ."""
    parts = [float(side.var(ddof=1)) / len(side) for side in (left, right)]
    spread = parts[0] ** 2 / (len(left) - 1) + parts[1] ** 2 / (len(right) - 1)
    degrees = sum(parts) ** 2 / spread if spread > 0 else min(len(left), len(right)) - 1
    value = float(left.mean() - right.mean())
    return _student(value, math.sqrt(sum(parts)), degrees, seeds, "Welch t interval over seeds")


def _student(value: float, error: float, degrees: float, seeds: list[int], method: str) -> Estimate:
    from scipy import stats  # imported here because it takes half a second

    half = float(stats.t.ppf(1 - ALPHA, degrees)) * error

    def p_value(bound: float) -> float:
        if error == 0:  # all seeds agree
            return 0.0 if value >= bound else 1.0
        return float(stats.t.sf((value - bound) / error, degrees))

    return Estimate(value, error, value - half, value + half, method, seeds, error, p_value)


def _unpaired_error(left: Floats, right: Floats) -> float | None:
    """Return the standard error of the difference of two means over seeds; None where a side has one seed."""
    errors = standard_error(left), standard_error(right)
    return None if errors[0] is None or errors[1] is None else math.hypot(errors[0], errors[1])


def _from_draws(value: float, draws_R: Floats, seeds: list[int], method: str, seed_error: float | None) -> Estimate:
    """Return the percentile interval of the bootstrap draws; the test inverts it, so p is at least 1 / (R + 1)."""
    low, high = (float(bound) for bound in np.quantile(draws_R, [ALPHA, 1 - ALPHA]))

    def p_value(bound: float) -> float:
        return float((1 + np.count_nonzero(draws_R < bound)) / (1 + len(draws_R)))

    return Estimate(float(value), float(draws_R.std(ddof=1)), low, high, method, seeds, seed_error, p_value)

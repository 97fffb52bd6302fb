"""Estimates with 95 % intervals: over seeds where there are three or more, else over evaluation windows.

Shape legend: W evaluation windows, R bootstrap draws.

The two kinds of interval answer different questions. Over seeds: would another training run agree? Over windows: would
other text agree, with these very weights? The second leaves out the spread between training runs and is therefore
the narrower one; `method` says which of them a number carries.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from memlab.errors import UserError
from memlab.report.collect import Row

LEVEL = 0.95
DRAWS = 1_000
BOOTSTRAP_SEED = 20260213
SEEDS_FOR_T = 3  # fewer seeds say too little about their own spread: with two, the t quantile is 12.7
FROM_WINDOWS = ("token_accuracy", "cross_entropy", "entropy_ratio")

# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom (any table of the distribution).
# fmt: off
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
         2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
# fmt: on

Floats = NDArray[np.float64]


class Unmeasurable(Exception):
    """The rows at hand cannot give the estimate; the message says why."""


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and 95 % interval [low, high], in the metric's own unit.

    standard_error belongs to the interval, over seeds or over windows; seed_error is over seeds in any case, from two
    of them on (None with one).
    """

    value: float
    standard_error: float
    low: float
    high: float
    method: str
    seeds: list[int]
    seed_error: float | None


@dataclass(frozen=True)
class Side:
    """Rows that differ in nothing but the seed, and the metric asked of them."""

    rows: Sequence[Row]
    metric: str

    def by_seed(self) -> dict[int, Row]:
        """Rows by seed; those without the metric are left out.

        Raises:
            UserError: two rows share a seed, so the side mixes things that are not replicates.
        """
        found: dict[int, Row] = {}
        for row in self.rows:
            if row.get(self.metric) is None:
                continue
            seed = int(row.get("seed", 0))
            if seed in found:
                raise UserError(
                    f"runs {found[seed].get('run')} and {row.get('run')} are both seed {seed} of {row.get('arm')} "
                    f"({row.get('architecture')}): give them different arms, or name in the claim's selector the "
                    "choice that tells them apart"
                )
            found[seed] = row
        return dict(sorted(found.items()))


def estimate(rows: Sequence[Row], metric: str) -> Estimate:
    """Mean of `metric` over the seeds in `rows`.

    Raises:
        Unmeasurable: no row has the metric, or it has too few seeds and cannot be recomputed per window.
    """
    side = Side(rows, metric)
    by_seed = side.by_seed()
    if not by_seed:
        raise Unmeasurable(f"no finished run has {metric}")
    values = _values(side, list(by_seed))
    if len(by_seed) >= SEEDS_FOR_T:
        return _t_interval(values, list(by_seed), f"t interval over {len(by_seed)} seeds")
    draws = _bootstrap(side, list(by_seed), np.random.default_rng(BOOTSTRAP_SEED))
    method = "bootstrap over evaluation windows"
    return _from_draws(float(values.mean()), draws, list(by_seed), method, standard_error(values))


def difference(left: Side, right: Side) -> Estimate:
    """left - right, seed by seed where the two sides share seeds (arms of one seed share their pretrained encoder).

    Three shared seeds or more: paired t interval. None of that, but three seeds on each side: Welch's t interval. Else
    a percentile bootstrap over windows, 1,000 draws from a fixed seed: the same windows on both sides where the
    windows' scored-token counts agree, else independent draws.

    Raises:
        Unmeasurable: see `estimate`.
    """
    left_seeds, right_seeds = list(left.by_seed()), list(right.by_seed())
    for side, seeds in ((left, left_seeds), (right, right_seeds)):
        if not seeds:
            raise Unmeasurable(f"no finished run has {side.metric}")
    shared = [seed for seed in left_seeds if seed in right_seeds]
    if len(shared) >= SEEDS_FOR_T:
        values = _values(left, shared) - _values(right, shared)
        return _t_interval(values, shared, f"paired t interval over {len(shared)} seeds")
    if min(len(left_seeds), len(right_seeds)) >= SEEDS_FOR_T:
        return _welch(_values(left, left_seeds), _values(right, right_seeds), sorted({*left_seeds, *right_seeds}))
    if shared:
        left_seeds = right_seeds = shared
    sides = _values(left, left_seeds), _values(right, right_seeds)
    seed_error = standard_error(sides[0] - sides[1]) if shared else _unpaired_error(*sides)
    paired = left_seeds == right_seeds and all(
        np.array_equal(_window(left, seed, "count"), _window(right, seed, "count")) for seed in left_seeds
    )
    # Two generators from one seed draw the same windows; a spawned one draws independently of the first.
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    other = np.random.default_rng(BOOTSTRAP_SEED) if paired else generator.spawn(1)[0]
    draws = _bootstrap(left, left_seeds, generator) - _bootstrap(right, right_seeds, other)
    method = f"{'paired' if paired else 'unpaired'} bootstrap over evaluation windows"
    point = float(sides[0].mean() - sides[1].mean())
    return _from_draws(point, draws, sorted({*left_seeds, *right_seeds}), method, seed_error)


def seed_values(rows: Sequence[Row], metric: str) -> Floats:
    """The metric of each seed in `rows`, in order of seeds."""
    side = Side(rows, metric)
    return _values(side, list(side.by_seed()))


def standard_error(values: Floats) -> float | None:
    """Of their mean; None for fewer than two."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) >= 2 else None


def t_quantile(degrees: float) -> float:
    """97.5 % quantile of Student's t. Fractional degrees (Welch) are rounded down, which widens the interval.

    Above 30 degrees the Cornish-Fisher expansion in 1/degrees (Abramowitz & Stegun 26.7.5) is right to 1e-4.
    """
    whole = int(degrees)
    assert whole >= 1, degrees
    if whole <= len(T_975):
        return T_975[whole - 1]
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    return z + (z**3 + z) / (4 * whole) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * whole**2)


def _values(side: Side, seeds: Sequence[int]) -> Floats:
    rows = side.by_seed()
    return np.array([rows[seed][side.metric] for seed in seeds], dtype=np.float64)


def _t_interval(values: Floats, seeds: list[int], method: str) -> Estimate:
    mean, error = float(values.mean()), standard_error(values)
    assert error is not None
    half = t_quantile(len(values) - 1) * error
    return Estimate(mean, error, mean - half, mean + half, method, seeds, error)


def _unpaired_error(left: Floats, right: Floats) -> float | None:
    """Standard error of the difference of two means over seeds; None where a side has one seed."""
    errors = standard_error(left), standard_error(right)
    return None if errors[0] is None or errors[1] is None else math.hypot(errors[0], errors[1])


def _welch(left: Floats, right: Floats, seeds: list[int]) -> Estimate:
    """Welch's interval: unequal variances, degrees of freedom by Welch and Satterthwaite."""
    parts = [float(side.var(ddof=1)) / len(side) for side in (left, right)]
    error = float(np.sqrt(sum(parts)))
    mean = float(left.mean() - right.mean())
    spread = parts[0] ** 2 / (len(left) - 1) + parts[1] ** 2 / (len(right) - 1)
    degrees = sum(parts) ** 2 / spread if spread > 0 else min(len(left), len(right)) - 1
    # Rounding can land just under the smaller side's degrees, which bound the formula from below.
    half = t_quantile(max(degrees, min(len(left), len(right)) - 1)) * error
    return Estimate(mean, error, mean - half, mean + half, "Welch t interval over seeds", seeds, error)


def _bootstrap(side: Side, seeds: Sequence[int], generator: np.random.Generator) -> Floats:
    """Redraw the windows; the metric of each draw, averaged over seeds: (R,).

    Seeds with equally many windows share their draws, as they were scored on the same text.
    """
    _, name = _split(side.metric)
    weights_RW: dict[int, Floats] = {}
    total = np.zeros(DRAWS)
    for seed in seeds:
        row = side.by_seed()[seed]
        count_W = _window(side, seed, "count")
        part_W = _window(side, seed, "correct" if name == "token_accuracy" else "loss")
        size = len(count_W)
        if size not in weights_RW:
            weights_RW[size] = generator.multinomial(size, np.full(size, 1 / size), size=DRAWS).astype(np.float64)
        ratio_R = (weights_RW[size] @ part_W) / (weights_RW[size] @ count_W)
        if name == "entropy_ratio":
            # 1 - CE / CE_0 needs the vocabulary's CE_0; the row's own ratio and loss give it.
            ratio_R = 1 - (1 - row[side.metric]) * ratio_R / (part_W.sum() / count_W.sum())
        total += ratio_R
    return total / len(seeds)


def _window(side: Side, seed: int, key: str) -> Floats:
    """Per-window sums of one run: (W,).

    Raises:
        Unmeasurable: the metric is no ratio of per-window sums, or the run saved none.
    """
    row = side.by_seed()[seed]
    table, name = _split(side.metric)
    if name not in FROM_WINDOWS:
        raise Unmeasurable(f"{side.metric} cannot be recomputed per window: needs {SEEDS_FOR_T} seeds for an interval")
    tables = row.get("windows", {})
    windows = (tables.get(table, {}) if table else tables).get(key)
    if not windows:
        raise Unmeasurable(f"run {row.get('run')} saved no per-window {key}: needs {SEEDS_FOR_T} seeds for an interval")
    return np.asarray(windows, dtype=np.float64)


def _split(metric: str) -> tuple[str, str]:
    """A metric's table, empty where its run has one only, and its plain name: clm/token_accuracy is clm's."""
    table, _, name = metric.rpartition("/")
    return table, name


def _from_draws(point: float, draws_R: Floats, seeds: list[int], method: str, seed_error: float | None) -> Estimate:
    tail = 50 * (1 - LEVEL)
    low, high = (float(value) for value in np.percentile(draws_R, [tail, 100 - tail]))
    return Estimate(point, float(draws_R.std(ddof=1)), low, high, method, seeds, seed_error)

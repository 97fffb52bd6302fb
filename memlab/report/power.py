"""How many seeds an undecided claim would need."""

import math

from memlab.report.side import SEEDS_FOR_T
from memlab.report.uncertainty import ALPHA, Estimate

POWER = 0.8
MOST = 1_000


def seeds_needed(found: Estimate, needed: float) -> int | None:
    """Return the least number of seeds that settles `difference >= needed` with a chance of 80 %, or `MOST` + 1.

    The true difference and its spread over seeds are taken to be those measured. If the difference reaches `needed`,
    the claim is settled when it holds: the interval lies above min(0, needed), and the mean still reaches `needed`.
    Otherwise it is settled when the interval lies below `needed`. The chance that a one-sided t test finds a shift of
    d standard deviations in n values is that of a noncentral t variable (n - 1 degrees of freedom, noncentrality
    d sqrt(n)) to exceed the test's quantile.

    None if the interval is not over seeds, as the spread is then unknown.
    """
    if len(found.seeds) < SEEDS_FOR_T or not found.seed_error:
        return None
    spread = found.seed_error * math.sqrt(len(found.seeds))
    reaches = found.value >= needed
    gap = found.value - min(0.0, needed) if reaches else needed - found.value
    # With few seeds neither chance is enough; from some number on both are, for good.
    low, high = SEEDS_FOR_T - 1, MOST + 1
    while high - low > 1:
        middle = (low + high) // 2
        above = _mean_stays(found.value - needed, spread, middle) if reaches else 1.0
        if min(above, _finds(gap / spread, middle)) >= POWER:
            high = middle
        else:
            low = middle
    return high


def _finds(shift: float, seeds: int) -> float:
    from scipy import stats  # imported here because it takes half a second

    critical = stats.t.ppf(1 - ALPHA, seeds - 1)
    return float(stats.nct.sf(critical, seeds - 1, shift * math.sqrt(seeds)))


def _mean_stays(margin: float, spread: float, seeds: int) -> float:
    """Return the chance that the mean of `seeds` values lies no lower than `margin` below the true one."""
    return 0.5 * math.erfc(-margin * math.sqrt(seeds) / spread / math.sqrt(2))

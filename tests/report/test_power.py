"""How many seeds would settle an undecided claim."""

import numpy as np
import pytest
from scipy import stats

from memlab.report.power import MOST, POWER, seeds_needed
from memlab.report.uncertainty import over_seeds


def spread_around(mean: float, deviation: float = 1.0) -> np.ndarray:
    """Four values with that mean and that standard deviation."""
    values = np.array([-1.0, -1.0, 1.0, 1.0])
    return mean + deviation * values / values.std(ddof=1)


@pytest.mark.parametrize(("mean", "needed"), [(2.0, -1.0), (2.0, 0.0), (0.4, -0.4), (-0.5, 0.5)])
def test_so_many_seeds_settle_a_claim_four_times_in_five(mean: float, needed: float) -> None:
    found = over_seeds(spread_around(mean), [0, 1, 2, 3])
    seeds = seeds_needed(found, needed)
    assert seeds is not None and seeds < MOST
    random = np.random.default_rng(0)
    shares = []
    for count in (seeds - 1, seeds):
        draws = random.normal(mean, 1.0, size=(20_000, count))
        half = stats.t.ppf(0.975, count - 1) * draws.std(1, ddof=1) / np.sqrt(count)
        low, high = draws.mean(1) - half, draws.mean(1) + half
        settled = (low >= min(0.0, needed)) & (draws.mean(1) >= needed) if mean >= needed else high < needed
        shares.append(settled.mean())
    assert shares[1] > POWER - 0.01, "as many are enough"
    assert shares[0] < POWER + 0.01, "one less is not"


def test_a_mean_just_above_what_is_needed_takes_many() -> None:
    close, far = (seeds_needed(over_seeds(spread_around(mean), [0, 1, 2, 3]), 1.0) for mean in (1.1, 2.0))
    assert close is not None and far is not None and far < close
    assert seeds_needed(over_seeds(spread_around(1.001), [0, 1, 2, 3]), 1.0) == MOST + 1


def test_without_a_spread_over_seeds_there_is_no_number() -> None:
    assert seeds_needed(over_seeds(np.array([1.0, 1.0, 1.0]), [0, 1, 2]), 2.0) is None

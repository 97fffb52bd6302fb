"""The cost model of reading n tokens in s chunks: its best s, its fit, and exponents without it."""

import math

import numpy as np
import pytest

from memlab.bench.cost_model import CostModel, exponent, fit, fit_error, measured_best

TEXTS = (1024, 4096, 16384)
LENGTHS = (4, 8, 16, 32, 64, 128)
MIXING = CostModel(a=0.0, b=0.0, c=1e-8, d=0.0, e=1e-8)  # nothing but pairs of positions, equally dear
SLOTS = CostModel(a=0.0, b=1e-6, c=1e-8, d=1e-5, e=0.0)  # the decoder works on slots, and mixes for nothing
ALL = CostModel(a=1e-3, b=2e-6, c=3e-8, d=4e-6, e=5e-8)


def best_of(model: CostModel, tokens: float) -> float:
    best = model.best_chunks(tokens)
    assert best is not None
    return best


@pytest.mark.parametrize("model", [MIXING, SLOTS, ALL])
@pytest.mark.parametrize("tokens", TEXTS)
def test_no_other_number_of_chunks_takes_less_time(model: CostModel, tokens: int) -> None:
    best = model.best_chunks(tokens)
    assert best is not None and 1 < best < tokens
    assert all(model.seconds(tokens, best) <= model.seconds(tokens, best * other) for other in (0.9, 0.99, 1.01, 1.1))


def test_exponents_of_the_derivation() -> None:
    """2/3 where mixing is all, and s = (n^2 / 2)^(1/3); 1 where the work per slot is all; between them otherwise."""
    assert MIXING.best_chunks(4096) == pytest.approx((4096**2 / 2) ** (1 / 3))
    found = [exponent(TEXTS, [best_of(model, tokens) for tokens in TEXTS]) for model in (MIXING, SLOTS, ALL)]
    assert found[:2] == pytest.approx([2 / 3, 1])
    assert 2 / 3 < found[2] < 1


def test_local_exponent_is_that_of_the_readme() -> None:
    """(d + 2 e s) / (d + 3 e s)."""
    n, step = 4096.0, 1e-3
    s = best_of(ALL, n)
    slope = math.log(best_of(ALL, n * (1 + step)) / s) / math.log(1 + step)
    assert slope == pytest.approx((ALL.d + 2 * ALL.e * s) / (ALL.d + 3 * ALL.e * s), abs=1e-3)


def test_training_has_its_best_number_of_chunks_at_the_square_root() -> None:
    """All passes, s (s + n/s)^2 pairs, with the encoder's n^2/s, as the README says."""

    def best(n: int) -> float:
        s = np.geomspace(1, n, 200_001)
        return float(s[np.argmin(s * (s + n / s) ** 2 + n**2 / s)])

    assert exponent(TEXTS, [best(n) for n in TEXTS]) == pytest.approx(0.5, abs=1e-3)


def test_fit_finds_the_coefficients() -> None:
    costs = [(n, n // length, ALL.seconds(n, n // length)) for n in TEXTS for length in LENGTHS]
    model = fit(costs)
    found, true = ((m.a, m.b, m.c, m.d, m.e) for m in (model, ALL))
    assert found == pytest.approx(true, rel=1e-6)
    assert fit_error(model, costs) < 1e-6
    assert fit_error(model, [(n, s, 2 * seconds) for n, s, seconds in costs]) == pytest.approx(0.5)


def test_fit_has_no_coefficient_below_zero() -> None:
    costs = [(n, n // length, 1.0 / n) for n in TEXTS for length in LENGTHS]
    assert min((m := fit(costs)).a, m.b, m.c, m.d, m.e) >= 0


def test_best_of_measured_times_lies_between_them() -> None:
    true = math.exp(3.3)
    seconds = {s: 5.0 + (math.log(s) - math.log(true)) ** 2 for s in (4, 8, 16, 32, 64, 128)}
    best, inside = measured_best(seconds)
    assert best == pytest.approx(true) and inside


@pytest.mark.parametrize(("seconds", "best"), [({2: 1.0, 4: 2.0, 8: 3.0}, 2), ({2: 3.0, 4: 2.0, 8: 1.0}, 8)])
def test_best_at_an_end_is_said_to_be_there(seconds: dict[int, float], best: int) -> None:
    assert measured_best(seconds) == (best, False)


def test_equally_fast_numbers_of_chunks_have_a_best_one() -> None:
    assert measured_best({2: 2.0, 4: 1.0, 8: 1.0, 16: 1.0})[0] in (4, pytest.approx(4 * 2**0.5), 8)


def test_time_that_only_falls_or_only_grows_has_no_best_number_of_chunks() -> None:
    assert CostModel(0, 0, 1.0, 0, 0).best_chunks(64) is None
    assert CostModel(0, 0, 0, 1.0, 1.0).best_chunks(64) is None
    assert CostModel(0, 0, 1.0, 0, 1e9).best_chunks(64) is None

"""Holm's correction against worked examples."""

from itertools import permutations

import pytest

from memlab.report.correction import holm


def test_the_worked_example() -> None:
    """Four hypotheses: 0.01, 0.04, 0.03, 0.005 (en.wikipedia.org, "Holm-Bonferroni method").

    In order: 4 * 0.005 = 0.02, 3 * 0.01 = 0.03, 2 * 0.03 = 0.06, 1 * 0.04 = 0.04, which the 0.06 before it raises.
    """
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_values_stop_at_one_and_one_claim_needs_no_correction() -> None:
    assert holm([0.5, 0.9, 0.01]) == pytest.approx([1.0, 1.0, 0.03])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_the_order_of_the_claims_does_not_matter() -> None:
    expected = {0.001: 0.004, 0.02: 0.06, 0.02000001: 0.06, 0.3: 0.3}
    for values in permutations(expected):
        assert holm(values) == pytest.approx([expected[value] for value in values], rel=1e-5)

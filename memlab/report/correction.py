"""Holm's correction for testing several claims at once."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p-values, in the order given (S. Holm, Scandinavian Journal of Statistics 6, 1979).

    With the m p-values sorted, the k-th smallest is multiplied by m - k + 1; no adjusted value is smaller than one
    before it, or larger than 1. Rejecting every claim whose adjusted p is at most alpha keeps the chance of any false
    rejection among the m at alpha or below, whatever the dependence between the tests.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted

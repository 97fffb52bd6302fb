"""The verdict on a measured difference."""

from memlab.report.uncertainty import Estimate

VERDICTS = HOLDS, UNDECIDED, REFUTED, UNMEASURED = "holds", "undecided", "does not hold", "not measured"


def judge(found: Estimate, needed: float) -> str:
    """Return the verdict on `difference >= needed`.

    HOLDS: the difference reaches `needed` and its interval lies above min(0, needed). UNDECIDED: neither that, nor does
    the interval exclude `needed`. REFUTED: the interval lies below `needed`.
    """
    if found.value >= needed and found.low >= min(0.0, needed):
        return HOLDS
    return UNDECIDED if found.high >= needed else REFUTED

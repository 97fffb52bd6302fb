"""Verdicts: the claims of an expected.yaml (memlab/report/expected.py) held against rows."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from memlab.report.collect import Row
from memlab.report.correction import holm
from memlab.report.expected import Claim, arms_of
from memlab.report.power import seeds_needed
from memlab.report.side import Side, Unmeasurable
from memlab.report.uncertainty import ALPHA, LEVEL, Estimate, difference, estimate
from memlab.report.verdict import HOLDS, REFUTED, UNDECIDED, UNMEASURED, judge

Verdict = dict[str, Any]


def evaluate(claims: Sequence[Claim], rows: Sequence[Row]) -> list[Verdict]:
    """Return a verdict per claim and architecture present.

    {"id", "text", "holds", "verdict", "p_value", "p_holm", "holds_after_holm", "measured"}

    holds: True if the difference is at least `smallest_effect` and its 95 % interval lies above
    min(0, smallest_effect); False if not; None if rows are missing, and `measured["reason"]` says which.
    verdict: the same in words. A claim that does not hold is UNDECIDED while its interval reaches the smallest effect:
    more seeds could settle it.
    p_value: of the one-sided test behind `holds`; its null hypothesis is that the difference is at most
    min(0, smallest_effect), and the interval lies above that if p <= 0.025. p_holm: adjusted for all claims tested
    here. holds_after_holm: whether the claim holds by the adjusted p, too. All three are None if a pair of arms is not
    measured.
    measured: the difference, and the margin by which it exceeds `smallest_effect`, also in standard errors over seeds
    (`difference_se`, `margin_se`; None with one seed). `seeds_needed`: of a claim that is undecided over seeds, see
    memlab/report/power.py.
    """
    verdicts = [_verdict(claim, own, name) for claim, own, name in _asked(claims, rows)]
    tested = [verdict for verdict in verdicts if verdict["p_value"] is not None]
    for verdict, adjusted in zip(tested, holm([verdict["p_value"] for verdict in tested]), strict=True):
        verdict["p_holm"] = adjusted
        verdict["holds_after_holm"] = verdict["holds"] and adjusted <= ALPHA
    return verdicts


def _asked(claims: Sequence[Claim], rows: Sequence[Row]) -> Iterator[tuple[Claim, Sequence[Row], str]]:
    """Yield every claim with the rows that it is asked of and the name of its verdict."""
    present = sorted({str(row["architecture"]) for row in rows if "architecture" in row})
    for claim in claims:
        if "architecture" in claim["left"] or not present:
            yield claim, rows, claim["id"]
            continue
        for name in present:
            if name in claim.get("architectures", present):
                yield claim, [row for row in rows if row.get("architecture") == name], f"{claim['id']}[{name}]"


def pairs(claims: Sequence[Claim], rows: Sequence[Row]) -> Iterator[tuple[str, Claim, Side | float, Side | float]]:
    """Yield every pair of a left and a right arm that the claims compare, with the name of its verdict."""
    for claim, own, name in _asked(claims, rows):
        for left in arms_of(claim["left"]):
            for right in arms_of(claim["right"]):
                yield name, claim, *_sides(_only(claim["left"], left), _only(claim["right"], right), own)


def _verdict(claim: Claim, rows: Sequence[Row], name: str) -> Verdict:
    """Compare every pair of a left and a right arm; the claim is as good as the weakest pair."""
    compared = [
        _compared(_only(claim["left"], left), _only(claim["right"], right), claim["smallest_effect"], rows)
        for left in arms_of(claim["left"])
        for right in arms_of(claim["right"])
    ]
    weakest = min(compared, key=_strength)
    measured = {key: value for key, value in weakest.items() if key not in ("holds", "verdict")}
    if weakest["holds"] is None:
        reasons = dict.fromkeys(pair["reason"] for pair in compared if pair["holds"] is None)
        measured["reason"] = "; ".join(reasons)
    if len(compared) > 1:
        measured["pairs"] = compared
    # All pairs must hold, so the claim's test is as strong as the one with the largest p (intersection-union test).
    p_values = [pair["p_value"] for pair in compared]
    return {
        "id": name,
        "text": claim["text"],
        "holds": weakest["holds"],
        "verdict": weakest["verdict"],
        "p_value": None if None in p_values else max(p_values),
        "p_holm": None,
        "holds_after_holm": None,
        "measured": measured,
    }


def _strength(pair: Mapping[str, Any]) -> tuple[int, float]:
    """Order pairs from the weakest on: one that fails settles the claim, one that is not measured leaves it open."""
    rank = (REFUTED, UNDECIDED, UNMEASURED, HOLDS).index(pair["verdict"])
    return rank, math.inf if pair["difference"] is None else pair["difference"]


def _compared(left: Mapping[str, Any], right: Mapping[str, Any], needed: float, rows: Sequence[Row]) -> dict[str, Any]:
    """Return left - right with its interval, p-value and verdict; or the reason why there is none."""
    metric = left.get("metric") or right["metric"]  # a fixed value is in the other side's metric
    left, right = ({"metric": metric, **selector} for selector in (left, right))
    sides = _sides(left, right, rows)
    about = {
        "left": _described(left, sides[0]),
        "right": _described(right, sides[1]),
        "smallest_effect": needed,
        "difference": None,
        "p_value": None,
        "holds": None,
        "verdict": UNMEASURED,
    }
    named = zip((left, right), sides, strict=True)
    absent = [_name(selector) for selector, side in named if isinstance(side, Side) and not side.rows]
    if absent:
        return {**about, "reason": f"no finished run of {' and '.join(dict.fromkeys(absent))}"}
    try:
        found = difference(*sides)
    except Unmeasurable as error:
        return {**about, "reason": str(error)}
    if not all(map(math.isfinite, (found.value, found.standard_error, found.low, found.high))):
        return {**about, "reason": "a metric is not finite: a run diverged"}
    return about | _judged(found, needed)


def _judged(found: Estimate, needed: float) -> dict[str, Any]:
    verdict = judge(found, needed)
    return {
        "difference": found.value,
        "standard_error": found.standard_error,
        "seed_error": found.seed_error,
        "difference_se": _in_errors(found.value, found.seed_error),
        "margin_se": _in_errors(found.value - needed, found.seed_error),
        "interval": [found.low, found.high],
        "level": LEVEL,
        "p_value": found.p_value(min(0.0, needed)),
        "method": found.method,
        "seeds": found.seeds,
        "seeds_needed": seeds_needed(found, needed) if verdict == UNDECIDED else None,
        "holds": verdict == HOLDS,
        "verdict": verdict,
    }


def _in_errors(value: float, error: float | None) -> float | None:
    """Return `value` in standard errors; None where all seeds agree up to rounding, as the ratio would be noise."""
    return value / error if error is not None and error > 1e-12 else None


def _sides(left: Mapping[str, Any], right: Mapping[str, Any], rows: Sequence[Row]) -> tuple[Side | float, Side | float]:
    found = [
        float(selector["value"]) if "value" in selector else Side(_select(rows, selector), selector["metric"])
        for selector in (left, right)
    ]
    return found[0], found[1]


def _described(selector: Mapping[str, Any], side: Side | float) -> dict[str, Any]:
    """Return one side's own value beside the selector that picked it; None where the side has no value."""
    if isinstance(side, float):
        return dict(selector)
    try:
        found = estimate(side.rows, side.metric)
    except Unmeasurable:
        values = [row[side.metric] for row in side.rows if row.get(side.metric) is not None]
        mean = math.fsum(values) / len(values) if values else math.nan
        return {**selector, "value": mean if math.isfinite(mean) else None}
    if not all(map(math.isfinite, (found.value, found.low, found.high))):
        return {**selector, "value": None}
    return {**selector, "value": found.value, "interval": [found.low, found.high], "seeds": found.seeds}


def _only(selector: Mapping[str, Any], arm: Any) -> dict[str, Any]:
    """Return the selector with one arm in place of a list of them."""
    return {**selector, "arm": arm} if arm is not None else dict(selector)


def _select(rows: Sequence[Row], selector: Mapping[str, Any]) -> list[Row]:
    choices = {key: value for key, value in selector.items() if key != "metric"}
    return [row for row in rows if all(row.get(key) == value for key, value in choices.items())]


def _name(selector: Mapping[str, Any]) -> str:
    return " ".join(str(value) for key, value in selector.items() if key != "metric")

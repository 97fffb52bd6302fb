"""Claims as code: expected.yaml states them before the runs, `evaluate` holds rows against them.

    claims:
      - id: blank_copy_beats_direct_copy
        text: ...
        source: Figure 4d, caption
        left: {arm: blank_copy, metric: token_accuracy}
        right: {arm: direct_copy, metric: token_accuracy}
        smallest_effect: 0.10

A claim says left - right >= smallest_effect. A negative smallest effect makes it one of "not worse by more than". Of
cross-entropies and other metrics whose lower values are better, the side said to be worse stands on the left. The two
sides may name different metrics, such as token_accuracy and clm/token_accuracy.

A selector's keys other than `metric` are choices that a row must have made; a list of arms means each of them, and the
claim is as good as its weakest pair. Unless its sides name an architecture, a claim is asked of every architecture in
the rows (or of those in `architectures`), and its id becomes `id[architecture]`; where both do, those are compared.

expected.yaml may also list what was published for the same arms, at full size: tables and figures show it beside ours.

    published:
      - {arm: blank_copy, architecture: mixer, metric: token_accuracy, value: 0.9, source: ...}
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from memlab.errors import UserError
from memlab.report.collect import Row
from memlab.report.uncertainty import LEVEL, Side, Unmeasurable, difference, estimate

Expected = dict[str, Any]
Claim = dict[str, Any]

HOLDS, UNDECIDED, REFUTED, UNMEASURED = "holds", "undecided", "does not hold", "not measured"

_KEYS = {"id", "text", "source", "left", "right", "smallest_effect"}
_OPTIONAL = {"architectures"}
_PUBLISHED = {"arm", "architecture", "metric", "value", "source"}


def load_expected(path: Path) -> Expected:
    """Read and check an experiment's expected.yaml.

    Raises:
        UserError: the file is missing, or a claim or a published value lacks a key, has an unknown one or names an arm
            that `arms` lacks, or a claim names an architecture on one side only.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: an experiment states its claims there before it is run")
    expected = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for key in ("arms", "claims"):
        if key not in expected:
            raise UserError(f"{path} has no `{key}`")
    seen: set[str] = set()
    for claim in expected["claims"]:
        name = claim.get("id", "?")
        missing, unknown = _KEYS - set(claim), set(claim) - _KEYS - _OPTIONAL
        if missing or unknown or name in seen:
            raise UserError(
                f"{path}, claim {name}: missing keys {sorted(missing)}, unknown keys {sorted(unknown)}"
                + (", id used twice" if name in seen else "")
            )
        seen.add(name)
        for side in (claim["left"], claim["right"]):
            if "metric" not in side:
                raise UserError(f"{path}, claim {name}: a side names no metric")
            strangers = [arm for arm in _arms(side) if arm is not None and arm not in expected["arms"]]
            if strangers:
                raise UserError(f"{path}, claim {name}: {strangers} not among the arms {sorted(expected['arms'])}")
        if ("architecture" in claim["left"]) != ("architecture" in claim["right"]):
            raise UserError(f"{path}, claim {name}: name an architecture on both sides, or on neither")
    expected["published"] = expected.get("published") or []
    for entry in expected["published"]:
        if set(entry) != _PUBLISHED or entry["arm"] not in expected["arms"]:
            raise UserError(
                f"{path}, published {entry}: give {', '.join(sorted(_PUBLISHED))}, with one of the arms"
                f" {sorted(expected['arms'])}"
            )
    return expected


def evaluate(claims: Sequence[Claim], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """[{"id", "text", "holds", "verdict", "measured"}, ...], one entry per claim and architecture present.

    holds: True if the difference is at least `smallest_effect` and its 95 % interval excludes differences below 0
    (below `smallest_effect`, where that is negative); False if not; None if rows are missing, `measured["reason"]` then
    says which. verdict: the same in words; a claim that does not hold is UNDECIDED as long as the interval reaches the
    smallest effect: more seeds could settle it either way. `measured` has the difference, and the margin by which it
    exceeds `smallest_effect`, also in units of the difference's standard error over seeds (null with one seed):
    `difference_se`, `margin_se`.
    """
    present = sorted({str(row["architecture"]) for row in rows if "architecture" in row})
    results = []
    for claim in claims:
        fixed = "architecture" in claim["left"] or "architecture" in claim["right"]
        allowed = claim.get("architectures")
        architectures = [name for name in present if allowed is None or name in allowed]
        if fixed or not present:
            results.append(_verdict(claim, rows, claim["id"]))
            continue
        for name in architectures:
            own = [row for row in rows if row.get("architecture") == name]
            results.append(_verdict(claim, own, f"{claim['id']}[{name}]"))
    return results


def _verdict(claim: Claim, rows: Sequence[Row], name: str) -> dict[str, Any]:
    pairs = [_pair(claim, rows, left, right) for left in _split(claim["left"]) for right in _split(claim["right"])]
    # One failing pair settles the claim; otherwise a pair that cannot be measured leaves it open.
    refuted = [pair for pair in pairs if pair["verdict"] == REFUTED]
    failed = [pair for pair in pairs if pair["holds"] is False]
    unknown = [pair for pair in pairs if pair["holds"] is None]
    candidates = refuted or failed or unknown or pairs
    weakest = min(candidates, key=lambda pair: math.inf if pair["difference"] is None else pair["difference"])
    measured = {key: value for key, value in weakest.items() if key not in ("holds", "verdict")}
    if unknown and not failed:
        measured["reason"] = "; ".join(dict.fromkeys(pair["reason"] for pair in unknown))
    if len(pairs) > 1:
        measured["pairs"] = pairs
    found = {key: weakest[key] for key in ("holds", "verdict")}
    return {"id": name, "text": claim["text"], **found, "measured": measured}


def _pair(claim: Claim, rows: Sequence[Row], left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    sides = [Side(_select(rows, selector), selector["metric"]) for selector in (left, right)]
    needed = claim["smallest_effect"]
    result: dict[str, Any] = {
        "left": _describe(left, sides[0]),
        "right": _describe(right, sides[1]),
        "smallest_effect": needed,
        "difference": None,
        "holds": None,
        "verdict": UNMEASURED,
    }
    absent = [_name(selector) for selector, side in zip((left, right), sides, strict=True) if not side.rows]
    if absent:
        return {**result, "reason": f"no finished run of {' and '.join(dict.fromkeys(absent))}"}
    try:
        found = difference(*sides)
    except Unmeasurable as error:
        return {**result, "reason": str(error)}
    numbers = (found.value, found.standard_error, found.low, found.high)
    if not all(math.isfinite(number) for number in numbers):
        return {**result, "reason": "a metric is not finite: a run diverged"}
    holds = bool(found.value >= needed and found.low >= min(0, needed))
    return {
        **result,
        "difference": found.value,
        "standard_error": found.standard_error,
        "seed_error": found.seed_error,
        "difference_se": _in_errors(found.value, found.seed_error),
        "margin_se": _in_errors(found.value - needed, found.seed_error),
        "interval": [found.low, found.high],
        "level": LEVEL,
        "method": found.method,
        "seeds": found.seeds,
        "holds": holds,
        "verdict": HOLDS if holds else UNDECIDED if found.high >= needed else REFUTED,
    }


def _in_errors(value: float, error: float | None) -> float | None:
    """None where all seeds agree but for rounding: any number of errors would be noise."""
    return value / error if error is not None and error > 1e-12 else None


def _describe(selector: Mapping[str, Any], side: Side) -> dict[str, Any]:
    """One side's own value, beside the selector that picked it; null where it has none."""
    try:
        found = estimate(side.rows, side.metric)
    except Unmeasurable:
        values = [row[side.metric] for row in side.rows if row.get(side.metric) is not None]
        mean = math.fsum(values) / len(values) if values else math.nan
        return {**selector, "value": mean if math.isfinite(mean) else None}
    if not all(math.isfinite(number) for number in (found.value, found.low, found.high)):
        return {**selector, "value": None}
    return {**selector, "value": found.value, "interval": [found.low, found.high], "seeds": found.seeds}


def _arms(selector: Mapping[str, Any]) -> list[Any]:
    arm = selector.get("arm")
    return list(arm) if isinstance(arm, list) else [arm]


def _split(selector: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One selector per arm named."""
    return [{**selector, "arm": arm} if arm is not None else dict(selector) for arm in _arms(selector)]


def _select(rows: Sequence[Row], selector: Mapping[str, Any]) -> list[Row]:
    choices = {key: value for key, value in selector.items() if key != "metric"}
    return [row for row in rows if all(row.get(key) == value for key, value in choices.items())]


def _name(selector: Mapping[str, Any]) -> str:
    return " ".join(str(value) for key, value in selector.items() if key != "metric")

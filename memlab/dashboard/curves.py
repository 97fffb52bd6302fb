"""Curves for the page: columns of numbers, thinned and rounded."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COSTS = {"steps": "step", "tokens": "tokens", "seconds": "seconds"}
Curve = dict[str, list[float | None]]


def curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """Return what was logged while training ("train") and in validation ("val"), from the rows of metrics.jsonl.

    A curve is {"steps": [...], "tokens": [...], "seconds": [...], metric: [...]}; None: not logged, or not finite.
    """
    found = {}
    for kind in ("val", "train"):
        own = [row for row in rows if any(key.startswith(f"{kind}/") for key in row)]
        names = dict.fromkeys(key for row in own for key in row if key.startswith(f"{kind}/"))
        columns = COSTS | {name.removeprefix(f"{kind}/"): name for name in names}
        if own:
            found[kind] = {name: [rounded(row.get(key)) for row in own] for name, key in columns.items()}
    return found


def thinned(curve: Mapping[str, Sequence[Any]], most: int) -> Curve:
    """Return a curve with at most so many of its points, evenly spread, the last one among them."""
    count = len(curve.get("steps", ()))
    if count <= most:
        return {name: list(values) for name, values in curve.items()}
    kept = [(number + 1) * count // most - 1 for number in range(most)]
    return {name: [values[place] for place in kept] for name, values in curve.items()}


def finite(value: Any) -> Any:
    """Return plain values with None for numbers that are not finite, which JSON lacks."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rounded(value: Any) -> float | None:
    """Return a number with the six significant digits of committed curves; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")

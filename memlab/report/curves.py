"""Training curves: how a metric of the validation windows changed over steps, tokens or wall time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from memlab.report.collect import Row
from memlab.report.plotting import Look, Panel
from memlab.report.side import Floats
from memlab.report.units import is_share, shown, with_unit

# By cost: the size of the unit, and the name of the axis. Encoder pretraining is left out of all of them.
COST_AXES = {
    "steps": (1.0, "steps of the decoder's stages"),
    "tokens": (1e6, "tokens of the decoder's stages (millions)"),
    "seconds": (60.0, "wall time of the decoder's stages (minutes)"),
}


@dataclass(frozen=True)
class Curve:
    """A metric over cost, over the seeds of one arm: arrays (P,) of P validations.

    x: the cost, a mean over seeds (wall times differ between them); low, high: the least and the greatest seed;
    turns: indices at which a stage ends and the next one begins.
    """

    x: Floats
    mean: Floats
    low: Floats
    high: Floats
    turns: list[int]
    seeds: int


def mean_curve(rows: Sequence[Row], metric: str, cost: str) -> Curve | None:
    """Return the curve over the seeds in `rows`, in the units shown; None if no validation has the metric.

    The decoder's stages follow each other. A validation counts if every seed has it.
    """
    chains = [chain for chain in (_chain(row, metric, cost) for row in rows) if chain]
    if not chains:
        return None
    common = sorted(set.intersection(*(set(chain) for chain in chains)))
    if not common:
        return None
    points = np.array([[chain[key] for key in common] for chain in chains])  # (seeds, P, 2)
    values = points[:, :, 1]
    turns = [place for place, (key, after) in enumerate(pairwise(common)) if key[0] != after[0]]
    return Curve(points[:, :, 0].mean(0), values.mean(0), values.min(0), values.max(0), turns=turns, seeds=len(chains))


def draw_curves(axis: Axes, rows: list[Row], panel: Panel, looks: dict[str, Look], cost: str) -> int:
    """Draw a line per arm, the mean over seeds, with a band from the least to the greatest; a dot ends a stage.

    Returns the largest number of seeds behind a line; 0 if there is no line.
    """
    most = 0
    for arm, look in looks.items():
        metric = panel.curve_of(arm)
        own = [row for row in rows if row["arm"] == arm]
        curve = None if metric is None else mean_curve(own, metric, cost)
        if curve is None:
            continue
        most = max(most, curve.seeds)
        axis.plot(curve.x, curve.mean, look.dash, color=look.colour, linewidth=1.3, label=look.label)
        axis.plot(curve.x[curve.turns], curve.mean[curve.turns], "o", color=look.colour, markersize=3.5)
        if curve.seeds > 1:
            axis.fill_between(curve.x, curve.low, curve.high, color=look.colour, alpha=0.15, linewidth=0)
    limits = panel.limits or ((0, 100) if is_share(panel.metric) else None)
    if limits is not None:
        axis.set_ylim(*limits)
    axis.set_xlim(left=0)
    axis.set_xlabel(COST_AXES[cost][1])
    axis.set_ylabel(with_unit(f"validation {panel.name}", panel.metric))
    return most


def _chain(row: Row, metric: str, cost: str) -> dict[tuple[int, float], tuple[float, float]]:
    """Return {(stage, step): (x, value)} of one run's decoder stages; each begins where the one before ended."""
    points: dict[tuple[int, float], tuple[float, float]] = {}
    size = COST_AXES[cost][0]
    start = 0.0
    for place, stage in enumerate(stage for stage in row["stages"] if stage["of"] == "decoder"):
        curve = stage["curve"]
        for step, x, value in zip(curve["steps"], curve[cost], curve.get(metric, []), strict=False):
            if value is not None:
                points[place, step] = ((start + x) / size, shown(value, metric))
        start += stage[cost]
    return points

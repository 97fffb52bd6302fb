"""Training curves: how a metric of the validation windows changed over steps, tokens or wall time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes

from memlab.report.collect import Row
from memlab.report.plotting import Look, Panel
from memlab.report.side import Floats
from memlab.report.units import is_share, shown, with_unit

NAME_WIDTH = 24  # letters of a name beside a curve, before it is wrapped
LINE_HEIGHT = 0.14  # of such a name, in inches
# By cost: the size of the unit, and the name of the axis. Encoder pretraining is left out of all of them.
COST_AXES = {
    "steps": (1.0, "steps of the decoder's stages"),
    "tokens": (1e6, "tokens of the decoder's stages (millions)"),
    "seconds": (60.0, "minutes of the decoder's stages"),
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


def draw_curves(
    axis: Axes, rows: list[Row], panel: Panel, looks: dict[str, Look], cost: str, height: float | None = None
) -> int:
    """Draw a line per arm, the mean over seeds, with a band from the least to the greatest; a dot ends a stage.

    height: of the axes, in inches; then each line has its arm's name beside its end.
    Returns the largest number of seeds behind a line; 0 if there is no line.
    """
    most = 0
    ends: list[tuple[float, float, Look]] = []
    for arm, look in looks.items():
        metric = panel.curve_of(arm) if look.curve else None
        own = [row for row in rows if row["arm"] == arm]
        curve = None if metric is None else mean_curve(own, metric, cost)
        if curve is None:
            continue
        most = max(most, curve.seeds)
        axis.plot(curve.x, curve.mean, look.dash, color=look.colour, linewidth=1.5, label=look.label)
        ends.append((float(curve.x[-1]), float(curve.mean[-1]), look))
        axis.plot(curve.x[curve.turns], curve.mean[curve.turns], "o", color=look.colour, markersize=3.5)
        if curve.seeds > 1:
            axis.fill_between(curve.x, curve.low, curve.high, color=look.colour, alpha=0.15, linewidth=0)
    limits = panel.limits or ((0, 100) if is_share(panel.metric) else None)
    if limits is not None:
        axis.set_ylim(*limits)
    axis.set_xlim(left=0)
    axis.set_xlabel(COST_AXES[cost][1])
    axis.set_ylabel(with_unit(f"validation {panel.name}", panel.metric))
    if height is not None:
        name_lines(axis, ends, height)
    return most


def name_lines(axis: Axes, ends: list[tuple[float, float, Look]], height: float) -> None:
    """Write each arm's name at the right of the axes, level with its line's end but clear of the other names."""
    low, high = axis.get_ylim()
    right = axis.get_xlim()[1]
    names = sorted(((y - low) / (high - low), x / right, fill(look.short, NAME_WIDTH), look) for x, y, look in ends)
    heights = [LINE_HEIGHT * (1.15 + name.count("\n")) / height for _, _, name, _ in names]
    for (y, x, name, look), place in zip(names, spread([y for y, *_ in names], heights), strict=True):
        axis.annotate(
            name,
            (x, y),
            (1.06, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=look.colour,
            fontsize=8,
            va="center",
            linespacing=1.0,
            arrowprops={
                "arrowstyle": "-",
                "color": look.colour,
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 1,
                "relpos": (0, 0.5),
            },
        )


def spread(wanted: list[float], heights: list[float]) -> list[float]:
    """Return the middles of boxes of `heights`, in ascending order, that do not overlap, near those wanted.

    Boxes that would overlap are stacked around the mean of what their members want.
    """
    stacks: list[tuple[list[int], float]] = []  # indices from below, and the middle of the stack
    for index, middle in enumerate(wanted):
        members, place = [index], middle
        while stacks:
            below, place_below = stacks[-1]
            size, size_below = (sum(heights[i] for i in group) for group in (members, below))
            if place_below + size_below / 2 <= place - size / 2:
                break
            stacks.pop()
            members = below + members
            place = sum(wanted[i] for i in members) / len(members)
        stacks.append((members, place))
    places: list[float] = []
    for members, middle in stacks:
        bottom = middle - sum(heights[i] for i in members) / 2
        for i in members:
            places.append(bottom + heights[i] / 2)
            bottom += heights[i]
    return places


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

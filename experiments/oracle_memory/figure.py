"""Bits per byte of text against the bits that are stored for it: does a memory pay?"""

import math
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.curves import spread
from memlab.report.expected import Expected
from memlab.report.layout import standard_figures
from memlab.report.plotting import STYLE, WIDTH, Look, Panel, looks_of, message, save

PAID, STORED, ALONE = "bits_per_byte_paid", "stored_bits_per_byte", "bits_per_byte"
HEIGHT = 3.6  # of a panel, in inches
LINE = 0.16  # of a name beside a point, in inches


def derive(rows: list[Row]) -> list[Row]:
    """Add the bits per byte with the stored memory paid for, and what of them is the memory."""
    derived = []
    for row in rows:
        paid = row.get("bits_per_byte_with_memory", row[ALONE])
        derived.append({**row, PAID: paid, STORED: paid - row[ALONE]})
    return derived


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figure to `path` (.png), and the losses to figure_loss.png and figure_cost.png."""
    standard_figures(
        rows, expected, path.with_name(f"figure_loss{path.suffix}"), Panel("cross_entropy", "cross-entropy")
    )
    with rc_context(STYLE):
        save(_figure(rows, expected), path)


def _figure(rows: list[Row], expected: Expected) -> Figure:
    looks = looks_of(rows, expected)
    architectures = sorted({row["architecture"] for row in rows})
    figure = Figure(figsize=(WIDTH, HEIGHT * len(architectures) + 0.8), layout="constrained")
    for axis, architecture in zip(figure.subplots(len(architectures), squeeze=False)[:, 0], architectures, strict=True):
        _panel(axis, [row for row in rows if row["architecture"] == architecture], looks)
        axis.set_title(architecture)
    figure.suptitle(fill(message(rows, expected, PAID), 95))
    return figure


def _panel(axis: Axes, rows: list[Row], looks: dict[str, Look]) -> None:
    """Draw what is left to pay for the text against what is stored; below the line, both together cost less."""
    points = []
    for arm, look in looks.items():
        own = [row for row in rows if row["arm"] == arm]
        if own:
            stored, left = (float(np.mean([row[key] for row in own])) for key in (STORED, ALONE))
            axis.plot(stored, left, "o", color=look.colour, markersize=5)
            points.append((left, stored, look))
    axis.set_xscale("symlog", linthresh=0.5)
    right = max(1.0, *(stored for _, stored, _ in points)) * 1.5
    axis.set_xlim(-0.05, right)
    axis.set_ylim(0, 1.1 * max(left for left, *_ in points))
    nothing = [row[ALONE] for row in rows if row["arm"] == "no_oracle"]
    if nothing:
        budget = math.fsum(nothing) / len(nothing)
        line = np.linspace(0, min(budget, right), 200)
        axis.plot(line, budget - line, color="black", linewidth=1, linestyle=":")
    axis.set_xlabel("bits stored per byte of text (dotted: both together cost as much as without a memory)")
    axis.set_ylabel("bits per byte of text that are left")
    low, high = axis.get_ylim()
    points.sort(key=lambda point: point[0])
    heights = [LINE / (HEIGHT - 1.0)] * len(points)
    wanted = [(left - low) / (high - low) for left, *_ in points]
    for (left, stored, look), place in zip(points, spread(wanted, heights), strict=True):
        axis.annotate(
            look.label,
            (stored, left),
            (1.03, place),
            textcoords="axes fraction",
            color=look.colour,
            fontsize=8,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": look.colour,
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
        )

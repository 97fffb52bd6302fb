"""Accuracy against noise on the memory, and against bits per float."""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.curves import name_lines
from memlab.report.expected import Expected
from memlab.report.plotting import STYLE, WIDTH, Look, looks_of, message, save
from memlab.report.units import shown

FORCED, GREEDY = "token_accuracy", "free_running_token_accuracy"
ACCURACY = "accuracy"
HEIGHT = 3.0  # of a panel, in inches


def derive(rows: list[Row]) -> list[Row]:
    """Add `accuracy`, `noise_0.5/accuracy` and so on: of copying models the free-running accuracy."""
    return [row | _accuracies(row) for row in rows]


def _accuracies(row: Row) -> Row:
    found: Row = {}
    table = "copy/" if f"copy/{FORCED}" in row else ""
    metric = GREEDY if table + GREEDY in row else FORCED
    for key, value in row.items():
        if key.startswith(table) and (key == table + metric or key.endswith(f"/{metric}")):
            way = key.removeprefix(table).removesuffix(metric)
            if not way or way.startswith(("noise_", "bits_")):
                found[way + ACCURACY] = value
    return found


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figure to `path` (.png), with .svg and .pdf beside it."""
    looks = looks_of(rows, expected)
    architectures = sorted({row["architecture"] for row in rows})
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT * len(architectures) + 0.8), layout="constrained")
        grid = figure.subplots(len(architectures), 2, squeeze=False, sharey=True)
        for (noise, bits), architecture in zip(grid, architectures, strict=True):
            own = [row for row in rows if row["architecture"] == architecture]
            _lines(noise, own, looks, "noise_", "none")
            noise.set_title(f"{architecture}: noise on the memory")
            noise.set_xlabel("noise, in units of the memory's size")
            noise.set_ylabel("tokens written again (%)")
            _lines(bits, own, looks, "bits_", "32")
            bits.set_title(f"{architecture}: fewer bits")
            bits.set_xlabel("bits per float")
        figure.suptitle(fill(message(rows, expected, ACCURACY), 95))
        save(figure, path)


def _lines(axis: Axes, rows: list[Row], looks: dict[str, Look], kind: str, start: str) -> None:
    """Draw a line per arm, from undisturbed memories to the most disturbed ones; bands reach over the seeds."""
    ways = {key.removesuffix(f"/{ACCURACY}") for row in rows for key in row if key.startswith(kind) and ACCURACY in key}
    sizes = sorted({float(way.removeprefix(kind)) for way in ways if f"{way}/{ACCURACY}" in rows[0]})
    sizes = sizes[::-1] if kind == "bits_" else sizes
    keys = [ACCURACY, *(f"{kind}{size:g}/{ACCURACY}" for size in sizes)]
    ends = []
    for arm, look in looks.items():
        values = np.array([[shown(row[key], ACCURACY) for key in keys] for row in rows if row["arm"] == arm])
        if not len(values):
            continue
        x = np.arange(len(keys))
        axis.plot(x, values.mean(0), look.dash, color=look.colour, linewidth=1.5, marker="o", markersize=3)
        axis.fill_between(x, values.min(0), values.max(0), color=look.colour, alpha=0.12, linewidth=0)
        ends.append((float(x[-1]), float(values.mean(0)[-1]), look))
    axis.set_xticks(range(len(keys)), [start, *(f"{size:g}" for size in sizes)])
    axis.set_ylim(0, 100)
    axis.set_xlim(0, len(keys) - 1)
    name_lines(axis, ends, HEIGHT - 0.7)

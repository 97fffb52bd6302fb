"""Bits that a float of memory regenerates, against the bits of text that it stands for."""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from memlab.report.collect import Row
from memlab.report.expected import Expected
from memlab.report.layout import standard_figures
from memlab.report.plotting import WIDTH, Look, Panel, legend_entries, looks_of, message, save_drawn

TEXT = "text/bits_per_float"
ENCODER, OPTIMUM = "encoder/bits_per_float", "optimum/bits_per_float"
BASE = "base"
# What each panel varies: one line per colour, through these arms and the base where it is among them.
PANELS = {
    "tokens per chunk (L)": (("length_8", BASE, "length_32"), ("third",)),
    "width (D), floats": (("width_64", BASE, "width_16"), (BASE, "floats_16", "floats_8")),
    "memories per chunk (M)": (("memories_4", "memories_2", BASE), ("memories_2_length_32",), ("split_2", "split_4")),
    "vocabulary (V)": (("vocab_smaller", BASE, "vocab_larger"),),
}
HEIGHT = 2.9  # of a panel, in inches
LINE = 0.15  # of a name beside a point, in inches


def derive(rows: list[Row]) -> list[Row]:
    """Add the shares of the text's bits that memories regenerate, and how far the encoder's is from the best."""
    return [
        {
            **row,
            "encoder/share": row[ENCODER] / row[TEXT],
            "optimum/share": row[OPTIMUM] / row[TEXT],
            "gap": row[OPTIMUM] - row[ENCODER],
        }
        for row in rows
    ]


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figure to `path` (.png), and the training to figure_loss.png and figure_cost.png."""
    loss = Panel("cross_entropy", "cross-entropy")
    standard_figures(rows, expected, path.with_name(f"figure_loss{path.suffix}"), loss)
    save_drawn(_figure, rows, expected, path)


def _figure(rows: list[Row], expected: Expected) -> Figure:
    architectures = sorted({row["architecture"] for row in rows})
    looks = looks_of(rows, expected)
    figure = Figure(figsize=(WIDTH, HEIGHT * len(architectures) + 1.0), layout="constrained")
    grid = figure.subplots(len(architectures), len(PANELS), sharex=True, sharey=True, squeeze=False)
    for axes, architecture in zip(grid, architectures, strict=True):
        own = [row for row in rows if row["architecture"] == architecture]
        for axis, (name, lines) in zip(axes, PANELS.items(), strict=True):
            _panel(axis, own, looks, lines)
            axis.set_title(name)
            axis.set_xlabel("bits of text per float")
        axes[0].set_ylabel(f"{architecture}: bits regenerated per float")
    _limit(grid[0, 0], rows)
    figure.suptitle(fill(message(rows, expected, OPTIMUM), 95))
    found = legend_entries(grid.flat)
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=len(found))
    return figure


def _panel(axis: Axes, rows: list[Row], looks: dict[str, Look], lines: tuple[tuple[str, ...], ...]) -> None:
    """Draw the lines of a panel, and the other arms' optima as grey dots behind them."""
    axis.plot([row[TEXT] for row in rows], [row[OPTIMUM] for row in rows], ".", color="#CCCCCC", zorder=1)
    line = np.geomspace(0.25, 64, 200)
    axis.plot(line, line, ":", color="black", linewidth=1, label="all of the text")
    named = {}
    for arms in lines:
        points = [(arm, *_means(rows, arm)) for arm in arms if any(row["arm"] == arm for row in rows)]
        if not points:
            continue
        colour = next((looks[arm].colour for arm, *_ in points if arm != BASE), looks[points[0][0]].colour)
        x, encoder, optimum = (np.array(values) for values in zip(*(values for _, *values in points), strict=True))
        axis.plot(x, optimum, "-", color=colour, linewidth=1.2)
        axis.plot(x, encoder, "--", color=colour, linewidth=1.0)
        for place, (arm, *_) in enumerate(points):
            own = looks[arm].colour
            axis.plot(x[place], optimum[place], "o", color=own, markersize=5)
            axis.plot(x[place], encoder[place], "o", color=own, markerfacecolor="white", markersize=5)
            named[arm] = (x[place], optimum[place])
    _name(axis, named, looks)
    axis.plot([], [], "o-", color="#444444", markersize=5, label="best memory of each chunk")
    axis.plot([], [], "o--", color="#444444", markerfacecolor="white", markersize=5, label="encoder's memory")


def _name(axis: Axes, named: dict[str, tuple[float, float]], looks: dict[str, Look]) -> None:
    for arm, (x, y) in named.items():
        axis.annotate(
            looks[arm].short,
            (x, y),
            (7, -8),
            textcoords="offset points",
            color=looks[arm].colour,
            fontsize=7,
        )


def _means(rows: list[Row], arm: str) -> list[float]:
    own = [row for row in rows if row["arm"] == arm]
    return [float(np.mean([row[key] for row in own])) for key in (TEXT, ENCODER, OPTIMUM)]


def _limit(axis: Axes, rows: list[Row]) -> None:
    """Set the limits and ticks, which all panels share."""
    text = [row[TEXT] for row in rows]
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.set_xlim(min(text) / 1.5, max(text) * 2.5)
    axis.set_ylim(min(0.0, *(row[ENCODER] for row in rows)), 1.2 * max(row[OPTIMUM] for row in rows))

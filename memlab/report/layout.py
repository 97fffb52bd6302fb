"""The figures that every experiment has: results beside training curves, and the same curves over their cost."""

from pathlib import Path
from textwrap import fill

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.curves import draw_curves, mean_curve
from memlab.report.dots import dot_chart
from memlab.report.expected import Expected
from memlab.report.plotting import STYLE, WIDTH, Panel, legend_entries, looks_of, message, save

COST_FIGURE = "figure_cost"
CURVES = 2.7  # least height of curves, in inches


def standard_figures(rows: list[Row], expected: Expected, path: Path, *panels: Panel) -> None:
    """Write `path` (.png) and figure_cost.png beside it, both also as .svg and .pdf.

    The figure has, per panel, the metric after training by arm, and beside it the curves over steps by architecture.
    figure_cost has a row per panel and architecture: the curves over tokens and over wall time. It is
    left out if no panel's metric is measured in validation (a speed, say).
    """
    with rc_context(STYLE):
        save(results_figure(rows, expected, panels), path)
        drawn = tuple(panel for panel in panels if _has_curves(rows, panel))
        if drawn:
            save(cost_figure(rows, expected, drawn), path.with_name(f"{COST_FIGURE}{path.suffix}"))


def results_figure(rows: list[Row], expected: Expected, panels: tuple[Panel, ...]) -> Figure:
    """Draw what came out beside the curves over steps."""
    looks, architectures = looks_of(rows, expected), _architectures(rows)
    height = max(0.6 + (0.21 + 0.1 * len(architectures)) * len(looks), CURVES * len(architectures))
    figure = Figure(figsize=(WIDTH, height * len(panels) + 0.9), layout="constrained")
    grid = figure.add_gridspec(len(panels) * len(architectures), 2, width_ratios=[1.0, 1.15])
    axes: list[Axes] = []
    seeds = 0
    for line, panel in enumerate(panels):
        first = line * len(architectures)
        axes.append(figure.add_subplot(grid[first : first + len(architectures), 0]))
        dot_chart(axes[-1], rows, expected, panel, looks)
        for place, architecture in enumerate(architectures, first):
            axis = figure.add_subplot(grid[place, 1])
            axis.set_title(f"{architecture}: training")
            own = [row for row in rows if row["architecture"] == architecture]
            found = draw_curves(axis, own, panel, looks, "steps", height / len(architectures) - 0.6)
            axis.set_visible(found > 0)
            seeds = max(seeds, found)
    _explain(figure, axes, seeds, fill(message(rows, expected, panels[0].metric), 95))
    return figure


def cost_figure(rows: list[Row], expected: Expected, panels: tuple[Panel, ...]) -> Figure:
    """Draw the curves over tokens and over wall time."""
    looks, architectures = looks_of(rows, expected), _architectures(rows)
    lines = [(panel, architecture) for panel in panels for architecture in architectures]
    figure = Figure(figsize=(WIDTH, 2.8 * len(lines) + 0.8), layout="constrained")
    grid = figure.subplots(len(lines), 2, sharey="row", squeeze=False)
    seeds = 0
    for axes, (panel, architecture) in zip(grid, lines, strict=True):
        own = [row for row in rows if row["architecture"] == architecture]
        for axis, cost, height in zip(axes, ("tokens", "seconds"), (None, 2.2), strict=True):
            seeds = max(seeds, draw_curves(axis, own, panel, looks, cost, height))
            axis.set_title(architecture)
        axes[1].set_ylabel("")
    _explain(figure, [], seeds, "The same curves over what they cost")
    return figure


def _explain(figure: Figure, axes: list[Axes], seeds: int, title: str) -> None:
    """Put the title above the figure; below it, what marks and lines mean, where they cover nothing."""
    figure.suptitle(title)
    found = legend_entries(axes)
    lines = "lines: mean over seeds, bands: from the least to the greatest seed" if seeds > 1 else "lines: one seed"
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower center",
        ncols=max(1, len(found)),
        title=f"{lines}; dot on a line: the next stage begins" if seeds else None,
        title_fontsize=8,
    )


def _has_curves(rows: list[Row], panel: Panel) -> bool:
    pairs = ((row, panel.curve_of(row["arm"])) for row in rows)
    return any(metric is not None and mean_curve([row], metric, "steps") is not None for row, metric in pairs)


def _architectures(rows: list[Row]) -> list[str]:
    return sorted({row["architecture"] for row in rows})

"""The figures that every experiment has: results beside training curves, and the same curves over their cost."""

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.curves import draw_curves, mean_curve
from memlab.report.dots import dot_chart
from memlab.report.expected import Expected
from memlab.report.plotting import STYLE, Panel, looks_of, save

COST_FIGURE = "figure_cost"
LETTER = 0.062  # width of a letter in inches


def standard_figures(rows: list[Row], expected: Expected, path: Path, *panels: Panel) -> None:
    """Write `path` (.png) and figure_cost.png beside it, both also as .svg and .pdf.

    The figure has a row per panel: the metric after training by arm, then its curves over steps, a column per
    architecture. figure_cost has a row per panel and architecture: the curves over tokens and over wall time. It is
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
    height = 0.7 + (0.22 + 0.11 * len(architectures)) * max(6, len(looks))
    names = LETTER * max(len(look.label) for look in looks.values())
    size = (2.5 + names + 2.9 * len(architectures), height * len(panels))
    figure = Figure(figsize=size, layout="constrained")
    widths = [1.15] + [1.0] * len(architectures)
    grid = figure.subplots(len(panels), 1 + len(architectures), width_ratios=widths, squeeze=False)
    seeds = 0
    for line, panel in zip(grid, panels, strict=True):
        dot_chart(line[0], rows, expected, panel, looks)
        for axis in line[2:]:
            axis.sharey(line[1])
        for axis, architecture in zip(line[1:], architectures, strict=True):
            axis.set_title(f"{architecture}: training")
            found = draw_curves(axis, _of(rows, architecture), panel, looks, "steps")
            axis.set_visible(found > 0)
            seeds = max(seeds, found)
        for axis in line[2:]:
            axis.set_ylabel("")
    _legend(figure, list(grid.flat), seeds)
    return figure


def cost_figure(rows: list[Row], expected: Expected, panels: tuple[Panel, ...]) -> Figure:
    """Draw the curves over tokens and over wall time."""
    looks, architectures = looks_of(rows, expected), _architectures(rows)
    lines = [(panel, architecture) for panel in panels for architecture in architectures]
    figure = Figure(figsize=(7.5, 2.8 * len(lines)), layout="constrained")
    grid = figure.subplots(len(lines), 2, sharey="row", squeeze=False)
    seeds = 0
    for axes, (panel, architecture) in zip(grid, lines, strict=True):
        for axis, cost in zip(axes, ("tokens", "seconds"), strict=True):
            seeds = max(seeds, draw_curves(axis, _of(rows, architecture), panel, looks, cost))
            axis.set_title(architecture)
        axes[1].set_ylabel("")
    _legend(figure, list(grid.flat), seeds)
    return figure


def _legend(figure: Figure, axes: list[Axes], seeds: int) -> None:
    """Put one legend below the whole figure, where it covers nothing."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    lines = "lines: mean over seeds, bands: from the least to the greatest seed" if seeds > 1 else "lines: one seed"
    columns = max(1, int(figure.get_figwidth() / (0.7 + LETTER * max(map(len, found)))))  # inches
    figure.set_figheight(figure.get_figheight() + 0.18 * (1 - (-len(found) // columns)))
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower center",
        ncols=columns,
        handlelength=3,
        title=f"{lines}; dot on a line: the next stage begins" if seeds else None,
        title_fontsize=8,
    )


def _has_curves(rows: list[Row], panel: Panel) -> bool:
    pairs = ((row, panel.curve_of(row["arm"])) for row in rows)
    return any(metric is not None and mean_curve([row], metric, "steps") is not None for row, metric in pairs)


def _architectures(rows: list[Row]) -> list[str]:
    return sorted({row["architecture"] for row in rows})


def _of(rows: list[Row], architecture: str) -> list[Row]:
    return [row for row in rows if row["architecture"] == architecture]

"""The picture of claims along training: a small panel per claim, with the difference that it asks for."""

import math
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memlab.report.along import Course, courses
from memlab.report.collect import Row
from memlab.report.colours import COLOURS
from memlab.report.expected import Expected
from memlab.report.plotting import DASHES, legend_entries
from memlab.report.units import is_share, plain_name, shown

COLUMNS, PANEL = 3, (3.1, 2.1)  # panels in a row; the size of a panel in inches
ARCHITECTURES = {"mixer": "blue", "transformer": "vermilion"}


def claims_figure(rows: list[Row], expected: Expected) -> Figure | None:
    """Draw the courses of all claims; None if there is none."""
    panels: dict[str, list[Course]] = {}
    for course in courses(expected["claims"], rows):
        panels.setdefault(course.claim.partition("[")[0], []).append(course)
    if not panels:
        return None
    lines = math.ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(PANEL[0] * COLUMNS, PANEL[1] * lines + 0.8), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False).flat
    for axis, (claim, own) in zip(grid, panels.items(), strict=False):
        _panel(axis, claim, own)
    for axis in list(figure.axes)[len(panels) :]:
        axis.set_visible(False)
    found = legend_entries(figure.axes)
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower center",
        ncols=len(found),
        title="bands: 95 % intervals over seeds; dotted: what the claim needs",
        title_fontsize=8,
    )
    figure.suptitle("What the claims ask for, along the last stage of training")
    return figure


def _panel(axis: Axes, claim: str, own: list[Course]) -> None:
    share = is_share(own[0].metric)
    pairs = list(dict.fromkeys((course.left, course.right) for course in own))
    for course in own:
        colour = COLOURS[ARCHITECTURES.get(course.architecture, "green")]
        dash = DASHES[pairs.index((course.left, course.right)) % len(DASHES)]
        x = [100 * value for value in course.shares]
        low, middle, high = (
            [shown(getattr(found, name), own[0].metric) for found in course.found] for name in ("low", "value", "high")
        )
        axis.plot(x, middle, dash, color=colour, linewidth=1.5, label=course.architecture)
        axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.axhline(shown(own[0].needed, own[0].metric), color="black", linewidth=1.2, linestyle=":")
    axis.set_title(fill(claim.replace("_", " "), 36), fontsize=9)
    axis.set_xlim(0, 100)
    axis.set_xlabel("share of the last stage (%)", fontsize=8)
    axis.set_ylabel("points" if share else plain_name(own[0].metric).replace("_", " "), fontsize=8)
    axis.tick_params(labelsize=8)

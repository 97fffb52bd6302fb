"""A dot chart: a metric after training, by arm."""

from itertools import cycle

from matplotlib.axes import Axes

from memlab.report.collect import Row
from memlab.report.expected import Expected
from memlab.report.plotting import MARKERS, Look, Panel
from memlab.report.side import Unmeasurable
from memlab.report.uncertainty import estimate, seed_values
from memlab.report.units import PUBLISHED, is_share, number, shown, with_unit

GREY = "#444444"


def dot_chart(axis: Axes, rows: list[Row], expected: Expected, panel: Panel, looks: dict[str, Look]) -> None:
    """Draw a line per arm and architecture: the mean with its 95 % interval, the seeds as faint dots below it.

    The mean also stands at the right as a number. Crosses are values published for that arm and architecture, by
    models of full size. An interval is left out where neither seeds nor windows give one.
    """
    architectures = sorted({row["architecture"] for row in rows})
    intervals = False
    for shift, (architecture, marker) in enumerate(zip(architectures, cycle(MARKERS), strict=False)):
        offset = 0.36 * (shift - (len(architectures) - 1) / 2)
        filled = shift == 0
        for place, (arm, look) in enumerate(looks.items()):
            own = [row for row in rows if (row["architecture"], row["arm"]) == (architecture, arm)]
            if not len(seed_values(own, panel.metric)):
                continue
            y = place + offset
            intervals |= _draw_interval(axis, own, panel.metric, y, look.colour)
            _draw_values(axis, own, panel.metric, y, look.colour, marker, filled)
            _draw_published(axis, expected, (architecture, arm, panel.metric), y)
        if len(architectures) > 1:
            axis.plot([], [], marker, color=GREY, markerfacecolor=GREY if filled else "white", label=architecture)
    _finish(axis, panel, looks)
    axis.set_title("after training" + (", 95 % intervals" if intervals else ""))


def _draw_interval(axis: Axes, rows: list[Row], metric: str, y: float, colour: str) -> bool:
    """Draw the 95 % interval; return whether there is one."""
    try:
        found = estimate(rows, metric)
    except Unmeasurable:
        return False
    axis.plot([shown(end, metric) for end in (found.low, found.high)], [y] * 2, "-|", color=colour, lw=1.4, ms=7)
    return True


def _draw_values(axis: Axes, rows: list[Row], metric: str, y: float, colour: str, marker: str, filled: bool) -> None:
    """Draw the mean, its number in a column at the right (clear of intervals and crosses), and the seeds' dots."""
    values = seed_values(rows, metric)
    if len(values) > 1:
        seeds = [shown(float(value), metric) for value in values]
        axis.plot(seeds, [y + 0.12] * len(seeds), ".", color=colour, alpha=0.45, markersize=4)
    mean = float(values.mean())
    face = colour if filled else "white"
    axis.plot(shown(mean, metric), y, marker, color=colour, markerfacecolor=face, markersize=5)
    at_the_right = axis.get_yaxis_transform()
    axis.text(1.02, y, number(mean, metric), transform=at_the_right, va="center_baseline", fontsize=8)


def _draw_published(axis: Axes, expected: Expected, what: tuple[str, str, str], y: float) -> None:
    for known in expected["published"]:
        if (known["architecture"], known["arm"], known["metric"]) == what:
            axis.plot(shown(known["value"], what[2]), y, "kx", markersize=6, label=PUBLISHED)


def _finish(axis: Axes, panel: Panel, looks: dict[str, Look]) -> None:
    axis.set_yticks(range(len(looks)), [look.label for look in looks.values()])
    for tick, look in zip(axis.get_yticklabels(), looks.values(), strict=True):
        tick.set_color(look.colour)
    axis.set_ylim(len(looks) - 0.5, -0.5)
    limits = panel.limits or ((0, 100) if is_share(panel.metric) else None)
    if limits is not None:
        room = 0.03 * (limits[1] - limits[0])  # for a marker at the end
        axis.set_xlim(limits[0] - room, limits[1] + room)
    axis.set_xlabel(with_unit(panel.name, panel.metric))
    axis.grid(visible=False, axis="y")

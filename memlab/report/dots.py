"""A dot chart: a metric after training, by arm."""

from itertools import cycle

from matplotlib.axes import Axes

from memlab.report.claims import Expected
from memlab.report.collect import Row
from memlab.report.plotting import MARKERS, Look, Panel
from memlab.report.uncertainty import Unmeasurable, estimate, seed_values
from memlab.report.units import PUBLISHED, is_share, number, shown, with_unit

GREY = "#444444"


def dot_chart(axis: Axes, rows: list[Row], expected: Expected, panel: Panel, looks: dict[str, Look]) -> None:
    """A line per arm and architecture: the mean and its 95 % interval, faint dots of seeds below, the mean as a number.

    Crosses are what was published of that arm and architecture, of
    models of full size. Where neither seeds nor windows give an interval, there is none.
    """
    metric = panel.metric
    architectures = sorted({row["architecture"] for row in rows})
    intervals = False
    for shift, (architecture, marker) in enumerate(zip(architectures, cycle(MARKERS), strict=False)):
        offset = 0.36 * (shift - (len(architectures) - 1) / 2)
        for place, arm in enumerate(looks):
            own = [row for row in rows if (row["architecture"], row["arm"]) == (architecture, arm)]
            colour, y = looks[arm].colour, place + offset
            values = seed_values(own, metric)
            if not len(values):
                continue
            if len(values) > 1:
                seeds = [shown(float(value), metric) for value in values]
                axis.plot(seeds, [y + 0.12] * len(seeds), ".", color=colour, alpha=0.45, markersize=4)
            try:
                found = estimate(own, metric)
                ends = [shown(found.low, metric), shown(found.high, metric)]
                axis.plot(ends, [y] * 2, "-|", color=colour, linewidth=1.4, markersize=7)
                intervals = True
            except Unmeasurable:
                pass
            mean = float(values.mean())
            face = colour if shift == 0 else "white"
            axis.plot(shown(mean, metric), y, marker, color=colour, markerfacecolor=face, markersize=5)
            # In a column of their own, numbers never lie on intervals or crosses.
            margin = axis.get_yaxis_transform()
            axis.text(1.02, y, number(mean, metric), transform=margin, va="center_baseline", fontsize=7)
            for known in expected["published"]:
                if (known["architecture"], known["arm"], known["metric"]) == (architecture, arm, metric):
                    axis.plot(shown(known["value"], metric), y, "kx", markersize=6, label=PUBLISHED)
        face = GREY if shift == 0 else "white"
        axis.plot([], [], marker, color=GREY, markerfacecolor=face, label=architecture)
    axis.set_yticks(range(len(looks)), [look.label for look in looks.values()])
    axis.set_ylim(len(looks) - 0.5, -0.5)
    limits = panel.limits or ((0, 100) if is_share(panel.metric) else None)
    if limits is not None:
        room = 0.03 * (limits[1] - limits[0])  # for a marker at the end
        axis.set_xlim(limits[0] - room, limits[1] + room)
    axis.set_xlabel(with_unit(panel.name, panel.metric))
    axis.set_title("after training" + (", 95 % intervals" if intervals else ""))
    axis.grid(visible=False, axis="y")

"""Figure 4d: token accuracy of copying by arm, with 95 % intervals, and how training got there."""

from itertools import cycle
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memlab.report.claims import Expected
from memlab.report.collect import Row
from memlab.report.plotting import COLOURS, DASHES, MARKERS, STYLE, save
from memlab.report.uncertainty import Unmeasurable, estimate

METRIC = "token_accuracy"
PRETRAINING = ("autoencoder", "causal")  # stages that train the encoder: their accuracy is of another task


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figure to `path` (.png), with .svg and .pdf beside it."""
    architectures = sorted({row["architecture"] for row in rows})
    known = [arm for arm in expected["arms"] if any(row["arm"] == arm for row in rows)]
    arms = [*known, *sorted({row["arm"] for row in rows} - set(known))]
    names = list(expected["arms"])
    place = {arm: names.index(arm) if arm in names else len(names) + arms.index(arm) for arm in arms}
    colours = {arm: COLOURS[place[arm] % len(COLOURS)] for arm in arms}
    with rc_context(STYLE):
        figure = Figure(
            figsize=(3.6 + 3.2 * len(architectures), 1.3 + (0.28 + 0.08 * len(architectures)) * max(6, len(arms))),
            layout="constrained",
        )
        axes = figure.subplots(1, 1 + len(architectures), width_ratios=[1.15] + [1] * len(architectures))
        _points(axes[0], rows, expected, colours)
        for axis, architecture in zip(axes[1:], architectures, strict=True):
            dashes = {arm: DASHES[place[arm] % len(DASHES)] for arm in arms}
            _curves(axis, [row for row in rows if row["architecture"] == architecture], colours, dashes)
            axis.set_title(f"{architecture}: training of the decoder")
        handles, labels = axes[1].get_legend_handles_labels()
        for axis in axes[2:]:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                if label not in labels:
                    handles, labels = [*handles, handle], [*labels, label]
        text = [expected["arms"].get(label, {}).get("label", label) for label in labels]
        if handles:
            figure.legend(handles, text, loc="outside lower center", ncols=4, handlelength=3)
        save(figure, path)


def _points(axis: Axes, rows: list[Row], expected: Expected, colours: dict[str, str]) -> None:
    """A line of the chart per arm, a marker per architecture, a dot per seed; a cross where a number was published."""
    arms, architectures = list(colours), sorted({row["architecture"] for row in rows})
    for shift, (architecture, marker) in enumerate(zip(architectures, cycle(MARKERS), strict=False)):
        offset = 0.36 * (shift - (len(architectures) - 1) / 2)
        for place, arm in enumerate(arms):
            own = [row for row in rows if (row["architecture"], row["arm"]) == (architecture, arm)]
            seeds = [100 * row[METRIC] for row in own if row.get(METRIC) is not None]
            axis.plot(seeds, [place + offset] * len(seeds), ".", color=colours[arm], alpha=0.45, markersize=4)
            try:
                found = estimate(own, METRIC)
            except Unmeasurable:
                continue
            value, low, high = (100 * number for number in (found.value, found.low, found.high))
            axis.plot([low, high], [place + offset] * 2, "-|", color=colours[arm], linewidth=1.4, markersize=7)
            face = colours[arm] if shift == 0 else "white"
            axis.plot(value, place + offset, marker, color=colours[arm], markerfacecolor=face, markersize=5)
            room = high < 82
            axis.annotate(
                f"{value:.1f}",
                (max(high, value) if room else min(low, value), place + offset),
                xytext=(6 if room else -6, 0),
                textcoords="offset points",
                ha="left" if room else "right",
                va="center",
                fontsize=7,
            )
        axis.plot(
            [], [], marker, color="#444444", markerfacecolor="#444444" if shift == 0 else "white", label=architecture
        )
    published = [known for known in expected.get("published", []) if known["metric"] == METRIC and known["arm"] in arms]
    crosses = [(100 * known["value"], arms.index(known["arm"])) for known in published]
    if crosses:
        axis.plot(*zip(*crosses, strict=True), "kx", markersize=7, label="published, full size")
    axis.set_yticks(range(len(arms)), [expected["arms"].get(arm, {}).get("label", arm) for arm in arms])
    axis.set_ylim(len(arms) - 0.5, -0.5)
    axis.set_xlim(0, 103)  # room for a marker at 100
    axis.set_xlabel("token accuracy of copying (%)")
    axis.set_title("after training, with 95 % intervals")
    axis.grid(visible=False, axis="y")
    axis.legend(loc="lower left", fontsize=7, handletextpad=0.2, borderpad=0.1)


def _curves(axis: Axes, rows: list[Row], colours: dict[str, str], dashes: dict[str, str]) -> None:
    """One line per run; later stages go on where the one before ended, a dot marks the change."""
    labelled: set[str] = set()
    for row in rows:
        start, steps, values = 0, [], []
        stages = [stage for stage in row["stages"] if stage["name"] not in PRETRAINING]
        for place, stage in enumerate(stages):
            steps += [start + step for step, _ in stage["curve"]]
            values += [100 * value for _, value in stage["curve"]]
            start += stage["steps"]
            if place < len(stages) - 1 and values:
                axis.plot(start, values[-1], "o", color=colours[row["arm"]], markersize=3.5)
        if steps:
            name = None if row["arm"] in labelled else row["arm"]
            labelled.add(row["arm"])
            axis.plot(steps, values, dashes[row["arm"]], color=colours[row["arm"]], linewidth=1.3, label=name)
    axis.set_ylim(0, 100)
    axis.set_xlim(left=0)
    axis.set_xlabel("training steps of the decoder")
    axis.set_ylabel("validation token accuracy (%)")

"""What all figures share: style, the look of an arm, and how a figure is saved."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.colours import COLOURS
from memlab.report.expected import Expected
from memlab.report.units import is_share, number, shown

DASHES = ("-", "--", ":")  # of arms of one colour
WIDTH = 9.5  # of a figure, in inches: still readable at half size
MARKERS = ("o", "s", "^", "D")
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "figure.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E0E0E0",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text, so that it can be searched
    "svg.hashsalt": "memlab",  # equal figures are equal files
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Panel:
    """One quantity of a figure.

    metric: a row's key; name: its name on the axes, without the unit; limits: of the axes, in the unit shown;
    curves: {arm: name of the metric in its validations}, where that name is not `metric`; arms that are left out of it
    have no curve.
    """

    metric: str
    name: str
    limits: tuple[float, float] | None = None
    curves: Mapping[str, str] | None = None

    def curve_of(self, arm: str) -> str | None:
        return self.metric if self.curves is None else self.curves.get(arm)


@dataclass(frozen=True)
class Look:
    """How an arm is drawn. short: its name beside a curve; curve: whether its curves are drawn."""

    label: str
    short: str
    colour: str
    dash: str
    curve: bool


def looks_of(rows: list[Row], expected: Expected) -> dict[str, Look]:
    """Return the looks of the arms in `rows`, in the order of expected.yaml; they do not depend on which arms ran.

    An arm of expected.yaml may have a `colour` of COLOURS (else they take turns), a `short` name, and `curve: false`.
    """
    names = list(expected["arms"])
    names += sorted({row["arm"] for row in rows} - set(names))
    present = {row["arm"] for row in rows}
    looks: dict[str, Look] = {}
    for place, arm in enumerate(names):
        about = expected["arms"].get(arm, {})
        label = about.get("label", arm)
        colour = COLOURS[about["colour"]] if "colour" in about else list(COLOURS.values())[place % len(COLOURS)]
        curve = about.get("curve", True)
        before = sum(look.colour == colour for look in looks.values() if look.curve)
        dash = DASHES[before % len(DASHES)] if curve else DASHES[0]
        looks[arm] = Look(label, about.get("short", label), colour, dash, curve)
    return {arm: look for arm, look in looks.items() if arm in present}


def message(rows: list[Row], expected: Expected, metric: str) -> str:
    """Return the figure's title: `message` of expected.yaml with the means of the arms that it names in braces.

    {arm} stands for the mean of `metric`, {arm:other/metric} for that of another one. Where there is no message, or an
    arm that it names has no run, the title is that of the experiment.
    """
    architectures = sorted({row["architecture"] for row in rows})
    parts = []
    for text, arm, other, _ in Formatter().parse(expected.get("message", "")):
        parts.append(text)
        if arm is not None:
            means = _means(rows, arm, other or metric)
            if set(means) != set(architectures):
                return str(expected.get("title", ""))
            values = [_short(means[name], other or metric) for name in architectures]
            parts.append(" and ".join(values) + ("%" if is_share(other or metric) else ""))
    if not parts:
        return str(expected.get("title", ""))
    return f"{''.join(parts)} ({' and '.join(f'{name}s' for name in architectures)})"


def _means(rows: list[Row], arm: str, metric: str) -> dict[str, float]:
    """Return the arm's mean over seeds by architecture, of those that have it."""
    own: dict[str, list[float]] = {}
    for row in rows:
        if row["arm"] == arm and row.get(metric) is not None:
            own.setdefault(row["architecture"], []).append(row[metric])
    return {name: math.fsum(values) / len(values) for name, values in own.items()}


def _short(value: float, metric: str) -> str:
    return f"{shown(value, metric):.0f}" if is_share(metric) else number(value, metric)


def legend_entries(axes: Iterable[Axes]) -> dict[str, Any]:
    """Return the handles of the axes' legends by label, each label once."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return found


def save(figure: Figure, path: Path) -> None:
    """Write `path` (PNG, 160 dpi) and beside it SVG and PDF, without dates, so that equal figures are equal files."""
    with rc_context(STYLE):
        figure.savefig(path, dpi=160)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})


def save_drawn(
    draw: Callable[[list[Row], Expected], Figure | None], rows: list[Row], expected: Expected, path: Path
) -> None:
    """Save what `draw` draws of the rows as `save` does; nothing where it returns None."""
    with rc_context(STYLE):
        figure = draw(rows, expected)
    if figure is not None:
        save(figure, path)

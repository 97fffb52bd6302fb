"""What all figures share: style, the look of an arm, and how a figure is saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.expected import Expected

# Okabe and Ito's colours, which people with any common colour blindness can tell apart; grey replaces their yellow,
# which is too pale for a line.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#56B4E9", "#CC79A7", "#E69F00", "#999999", "#882255")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 9,
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
    """How an arm is drawn."""

    label: str
    colour: str
    dash: str


def looks_of(rows: list[Row], expected: Expected) -> dict[str, Look]:
    """Return the looks of the arms in `rows`, in the order of expected.yaml; they do not depend on which arms ran."""
    names = list(expected["arms"])
    names += sorted({row["arm"] for row in rows} - set(names))
    present = {row["arm"] for row in rows}
    return {
        arm: Look(
            expected["arms"].get(arm, {}).get("label", arm),
            COLOURS[place % len(COLOURS)],
            DASHES[place % len(DASHES)],
        )
        for place, arm in enumerate(names)
        if arm in present
    }


def save(figure: Figure, path: Path) -> None:
    """Write `path` (PNG, 160 dpi) and beside it SVG and PDF, without dates, so that equal figures are equal files."""
    with rc_context(STYLE):
        figure.savefig(path, dpi=160)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})

"""What the figures of all experiments share: colours, and how a figure is saved. The only file here with matplotlib."""

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart in every common form of colour blindness; grey for their yellow, too pale a line.
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
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "memlab",  # and equal figures are equal files
    "pdf.fonttype": 42,
}


def save(figure: Figure, path: Path) -> None:
    """Write `path` (PNG, 200 dpi) and beside it SVG and PDF, without dates, so that equal figures are equal files."""
    with rc_context(STYLE):
        figure.savefig(path, dpi=200)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})

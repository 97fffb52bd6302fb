"""Cross-entropy of autoencoders by their design, and how training got there."""

from pathlib import Path

from memlab.report.collect import Row
from memlab.report.expected import Expected
from memlab.report.layout import standard_figures
from memlab.report.plotting import Panel


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figures to `path` (.png) and figure_cost.png, with .svg and .pdf beside them."""
    standard_figures(rows, expected, path, Panel("cross_entropy", "cross-entropy"))

"""Copying and next tokens, by how many memory vectors a chunk has."""

from pathlib import Path

from memlab.report.collect import Row
from memlab.report.expected import Expected
from memlab.report.layout import standard_figures
from memlab.report.plotting import Panel

COMBINED = ("combined", "four_combined", "four_wide_combined")
COPYING = ("copy_only", "two_copy", "four_copy", "four_wide_copy")


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figures to `path` (.png) and figure_cost.png, with .svg and .pdf beside them."""
    both = dict.fromkeys(COMBINED, "copy/token_accuracy")
    standard_figures(
        rows,
        expected,
        path,
        Panel("copy/token_accuracy", "copying accuracy", curves=both | dict.fromkeys(COPYING, "token_accuracy")),
        Panel("clm/token_accuracy", "next-token accuracy", curves=dict.fromkeys(COMBINED, "clm/token_accuracy")),
    )

"""The causal/copy table as a figure: token accuracy of both tasks, by what a memory model was trained on."""

from pathlib import Path

from memlab.report.collect import Row
from memlab.report.expected import Expected
from memlab.report.layout import standard_figures
from memlab.report.plotting import Panel

BOTH = ("combined", "combined_no_memory", "curriculum_combined", "curriculum_combined_blank")


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figures to `path` (.png) and figure_cost.png, with .svg and .pdf beside them."""
    panels = [
        Panel(
            f"{task}/token_accuracy",
            f"{name} accuracy",
            curves={f"{task}_only": "token_accuracy"} | dict.fromkeys(BOTH, f"{task}/token_accuracy"),
        )
        for task, name in (("clm", "next-token"), ("copy", "copying"))
    ]
    standard_figures(rows, expected, path, *panels)

"""Copying through a pretrained decoder, and what is left of the language model."""

from pathlib import Path

from memlab.report.collect import Row
from memlab.report.expected import Expected
from memlab.report.layout import standard_figures
from memlab.report.plotting import Panel

MIB = 2**20


def derive(rows: list[Row]) -> list[Row]:
    """Add the tokens per second and the peak memory of each row's last stage."""
    return [{**row, **_cost(row)} for row in rows]


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figures to `path` (.png) and figure_cost.png, with .svg and .pdf beside them."""
    standard_figures(
        rows,
        expected,
        path,
        Panel("token_accuracy", "copying accuracy"),
        Panel("alone/cross_entropy", "next token, decoder alone"),
    )


def _cost(row: Row) -> dict[str, float]:
    last = row["stages"][-1]
    cost = {"tokens_per_second": last["tokens"] / last["seconds"]} if last["seconds"] else {}
    peak = last.get("peak_memory")
    return cost | ({"peak_memory": peak / MIB} if peak else {})

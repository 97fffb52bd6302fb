"""Benchmarks: the accuracy of every task, by how a model was trained."""

from pathlib import Path
from textwrap import fill

from matplotlib import rc_context
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.dots import dot_chart
from memlab.report.expected import Expected
from memlab.report.plotting import STYLE, WIDTH, Panel, looks_of, message, save

TASK = "clm/{}/acc"
NAMES = {"held_out_choice": "right continuation of four", "held_out_word": "last word right"}
COLUMNS = 2


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figure to `path` (.png), with .svg and .pdf beside it."""
    start, end = TASK.split("{}")
    keys = {key for row in rows for key in row if key.startswith(start) and key.endswith(end)}
    tasks = sorted(key[len(start) : -len(end)] for key in keys)
    lines = -(-len(tasks) // COLUMNS)
    looks = looks_of(rows, expected)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.0 * max(lines, 1) + 0.6), layout="constrained")
        for place, task in enumerate(tasks):
            axis = figure.add_subplot(lines, COLUMNS, place + 1)
            dot_chart(axis, rows, expected, Panel(TASK.format(task), NAMES.get(task, task)), looks)
            if place % COLUMNS:
                axis.set_yticklabels([])
        figure.suptitle(fill(message(rows, expected, TASK.format("held_out_choice")), 95))
        save(figure, path)

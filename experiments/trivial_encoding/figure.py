"""Loss in distribution against loss on another text, and on random tokens."""

import math
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.expected import Expected
from memlab.report.plotting import MARKERS, STYLE, WIDTH, looks_of, message, save

LOSS, RATIO = "cross_entropy", "entropy_ratio"
NEAR, RANDOM = "python_docs/cross_entropy", "uniform_random/cross_entropy"


def derive(rows: list[Row]) -> list[Row]:
    """Add what the loss on random tokens says: beside an untrained model's, and beside the best that knows nothing."""
    derived = []
    for row in rows:
        # The entropy ratio is 1 - CE / CE_0 with CE_0 = ln(V (e - 1)) - 1/2, which gives V back.
        log_vocab = row[LOSS] / (1 - row[RATIO]) + 0.5 - math.log(math.e - 1) if row[RATIO] < 1 else math.nan
        random = row.get(RANDOM, row[LOSS])
        derived.append({**row, "random_excess": random - (log_vocab + 0.5), "random_learned": log_vocab - random})
    return derived


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figure to `path` (.png), with .svg and .pdf beside it."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        near, random = figure.subplots(1, 2)
        _scatter(near, rows, expected, NEAR, "loss on another text (nats per token)")
        _scatter(random, rows, expected, RANDOM, "loss on random tokens (nats per token)")
        figure.suptitle(fill(message(rows, expected, NEAR), 95))
        figure.legend(*near.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        save(figure, path)


def _scatter(axis: Axes, rows: list[Row], expected: Expected, metric: str, name: str) -> None:
    """Draw a point per seed, arm and architecture; near losses with their fit linear in log(loss)."""
    looks = looks_of(rows, expected)
    named: set[str] = set()
    for architecture, marker in zip(sorted({row["architecture"] for row in rows}), MARKERS, strict=False):
        own = [row for row in rows if row["architecture"] == architecture and metric in row]
        for row in own:
            look = looks[row["arm"]]
            label = None if look.label in named else look.label
            named.add(look.label)
            axis.plot(row[LOSS], row[metric], marker, color=look.colour, markersize=5, label=label)
        x, y = (np.array([row[key] for row in own], dtype=float) for key in (LOSS, metric))
        if metric == NEAR and len(set(x)) > 1:
            slope, offset = np.polyfit(np.log(x), y, 1)
            line = np.geomspace(x.min(), x.max(), 50)
            axis.plot(line, offset + slope * np.log(line), ":", color="black", linewidth=1)
            axis.annotate(architecture, (line[-1], offset + slope * math.log(line[-1])), fontsize=8)
    axis.set_xscale("log")
    axis.set_xlabel("loss in distribution (nats per token)")
    axis.set_ylabel(name)

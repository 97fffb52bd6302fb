"""Where in a chunk a model fails: its accuracy by the token's place."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.curves import name_lines
from memlab.report.expected import Expected
from memlab.report.plotting import WIDTH, Look, looks_of

METRIC = "token_accuracy"
HEIGHT = 2.8  # of a panel, in inches
MOST = 12  # lines of a panel whose names have room beside it


def places_figure(rows: list[Row], expected: Expected) -> Figure | None:
    """Draw a panel per table of the objectives and architecture.

    None if no row has accuracies by place, or if a panel would have more lines than can be told apart.
    """
    tables = sorted({table for row in rows for table in row.get("places", {})})
    panels = [
        (table, architecture) for table in tables for architecture in sorted({row["architecture"] for row in rows})
    ]
    if not panels:
        return None
    looks = looks_of(rows, expected)
    if any(len(_arms(rows, table, architecture, looks)) > MOST for table, architecture in panels):
        return None
    figure = Figure(figsize=(WIDTH, HEIGHT * len(panels) + 0.5), layout="constrained")
    for axis, (table, architecture) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        own = [row for row in rows if row["architecture"] == architecture and table in row.get("places", {})]
        _panel(axis, own, table, looks)
        axis.set_title(f"{architecture}, {table.replace('/', ' ')}" if table else architecture)
    figure.suptitle("Where in the chunk: accuracy by the token's place, means over seeds")
    return figure


def _arms(rows: list[Row], table: str, architecture: str, looks: dict[str, Look]) -> set[str]:
    own = (row for row in rows if row["architecture"] == architecture and table in row.get("places", {}))
    return {row["arm"] for row in own if looks[row["arm"]].curve}


def _panel(axis: Axes, rows: list[Row], table: str, looks: dict[str, Look]) -> None:
    ends: list[tuple[float, float, Look]] = []
    for arm, look in looks.items():
        own = [row["places"][table][METRIC] for row in rows if row["arm"] == arm]
        if not own or not look.curve:
            continue
        places = [place for place in range(len(own[0])) if all(values[place] is not None for values in own)]
        means = [100 * float(np.mean([values[place] for values in own])) for place in places]
        axis.plot([place + 1 for place in places], means, look.dash, color=look.colour, marker=".", label=look.label)
        ends.append((places[-1] + 1, means[-1], look))
    axis.set_ylim(0, 100)
    axis.set_xlim(left=0)
    axis.set_xlabel("place in the chunk")
    axis.set_ylabel("token accuracy (%)")
    name_lines(axis, ends, HEIGHT - 0.8)

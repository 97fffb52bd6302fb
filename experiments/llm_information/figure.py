"""Tokens that come back, over the length of the chunk, by the model whose vector is read."""

from dataclasses import replace
from math import log2
from pathlib import Path
from statistics import mean
from textwrap import fill

from matplotlib import rc_context
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.curves import name_lines
from memlab.report.expected import Expected
from memlab.report.layout import standard_figures
from memlab.report.plotting import STYLE, WIDTH, Look, Panel, looks_of, message, save
from memlab.report.units import shown

METRIC = "token_accuracy"
FAMILIES = ("causal", "bidirectional", "untrained", "autoencoder")
LENGTHS = (16, 64, 256, 512)
HEIGHT = 3.2  # of a panel, in inches
MIB = 2**20


def derive(rows: list[Row]) -> list[Row]:
    """Add the tokens per second and the peak memory of each row's last stage."""
    return [{**row, **_cost(row)} for row in rows]


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the accuracy over the length to `path` (.png), and all arms to figure_arms.png and figure_cost.png."""
    standard_figures(rows, expected, path.with_name(f"figure_arms{path.suffix}"), Panel(METRIC, "token accuracy"))
    with rc_context(STYLE):
        save(_figure(rows, expected), path)


def _figure(rows: list[Row], expected: Expected) -> Figure:
    architectures = sorted({row["architecture"] for row in rows})
    figure = Figure(figsize=(WIDTH, HEIGHT * len(architectures) + 0.8), layout="constrained")
    looks = looks_of(rows, expected)
    for axis, architecture in zip(figure.subplots(len(architectures), squeeze=False)[:, 0], architectures, strict=True):
        ends: list[tuple[float, float, Look]] = []
        for family in FAMILIES:
            own = {length: _values(rows, architecture, f"{family}_{length}") for length in LENGTHS}
            there = [length for length in LENGTHS if own[length]]
            if not there:
                continue
            look = looks[f"{family}_{there[0]}"]
            places, means = [log2(length) for length in there], [mean(own[length]) for length in there]
            axis.plot(places, means, "o-", color=look.colour, markersize=4, label=family)
            for place, length in zip(places, there, strict=True):
                axis.plot([place] * len(own[length]), own[length], ".", color=look.colour, alpha=0.4, markersize=3)
            published = _published(expected, architecture, family)
            axis.plot(*published, "x:", color=look.colour, markersize=6, linewidth=0.8)
            ends.append((places[-1], means[-1], replace(look, short=family)))
        axis.set_xticks([log2(length) for length in LENGTHS], [str(length) for length in LENGTHS])
        axis.set_ylim(bottom=0)
        axis.set_xlabel("tokens of the chunk (crosses: published, full size)")
        axis.set_ylabel("tokens right (%)")
        axis.set_title(f"{architecture} decoders")
        name_lines(axis, ends, HEIGHT - 0.8)
    figure.suptitle(fill(message(rows, expected, METRIC), 95))
    return figure


def _values(rows: list[Row], architecture: str, arm: str) -> list[float]:
    own = [row for row in rows if row["arm"] == arm and row["architecture"] == architecture]
    return [shown(row[METRIC], METRIC) for row in own if row.get(METRIC) is not None]


def _published(expected: Expected, architecture: str, family: str) -> tuple[list[float], list[float]]:
    found = {
        entry["arm"]: shown(entry["value"], METRIC)
        for entry in expected["published"]
        if entry["metric"] == METRIC and entry["architecture"] == architecture
    }
    there = [length for length in LENGTHS if f"{family}_{length}" in found]
    return [log2(length) for length in there], [found[f"{family}_{length}"] for length in there]


def _cost(row: Row) -> dict[str, float]:
    last = row["stages"][-1]
    cost = {"tokens_per_second": last["tokens"] / last["seconds"]} if last["seconds"] else {}
    peak = last.get("peak_memory")
    return cost | ({"peak_memory": peak / MIB} if peak else {})

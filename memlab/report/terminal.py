"""A report on the terminal: the arms as a table, the claims as lines in plain words."""

import os
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from memlab.report.claims import Verdict
from memlab.report.power import MOST
from memlab.report.report import Report
from memlab.report.tables import headline, summary
from memlab.report.units import is_share, number, unit
from memlab.report.verdict import HOLDS, REFUTED, UNDECIDED, UNMEASURED

COLOURS = {HOLDS: "green", REFUTED: "red", UNDECIDED: "yellow", UNMEASURED: "dim"}
METRICS = 2  # a terminal has room for so many


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the arms and the claims, then where the report lies. Colours are left out where there is no terminal."""
    console = console or Console()
    table = Table(title=f"{report.experiment}, {report.scale}: arms", title_justify="left")
    header, *lines = summary(report, report.metrics[:METRICS])
    for cell in header:
        table.add_column(cell, overflow="fold")
    for line in lines:
        table.add_row(*map(escape, line))
    console.print(table)
    for text in claim_lines(report):
        console.print(text)
    measured = (claim["measured"] for claim in report.claims)
    hows = dict.fromkeys(found["method"] for found in measured if found["difference"] is not None)
    console.print(f"accuracies in %, their differences in points; intervals: {', '.join(hows) or 'none'}", markup=False)
    if short := headline(report):
        console.print(f"in short: {short}", markup=False)
    if note := report.expected.get("note"):
        console.print(note, markup=False)
    if report.unfinished:
        console.print(f"not finished: {'; '.join(report.unfinished)}", markup=False)
    console.print(f"report: {os.path.relpath(report.folder / 'report.md')}", markup=False, soft_wrap=True)


def claim_lines(report: Report) -> Iterator[Text]:
    """Yield each claim's words once, and below them a line per verdict, in the colour of the verdict."""
    for words, verdicts in groupby(report.claims, key=lambda claim: claim["text"]):
        yield Text(str(words))
        for claim in verdicts:
            name = claim["verdict"]
            yield Text.assemble("  ", (f"{name:<14}", COLOURS[name]), _found(claim, report.expected["arms"]))


def _found(claim: Verdict, arms: dict[str, Any]) -> str:
    """Return what was found.

    Such as: mixer: curriculum 99.7 against blank copy 92.1: +7.6 [+5.1, +10.1] points, needed +5.0; 5 seeds
    """
    measured = claim["measured"]
    architecture = claim["id"].partition("[")[2].removesuffix("]")
    start = f"{architecture}: " if architecture else ""
    if measured["difference"] is None:
        return f"{start}{measured['reason']}"
    metric = measured["left"]["metric"]
    sides = " against ".join(_side(measured[key], arms) for key in ("left", "right"))
    change, low, high, needed = (
        number(value, metric, signed=True)
        for value in (measured["difference"], *measured["interval"], measured["smallest_effect"])
    )
    of = " points" if is_share(metric) else f" {unit(metric)}".rstrip()
    seeds = len(measured["seeds"])
    end = f"; {seeds} seed{'s' if seeds > 1 else ''}"
    if (more := measured.get("seeds_needed")) is not None:
        end += f", {f'more than {MOST:,}' if more > MOST else more} would decide"
    return f"{start}{sides}: {change} [{low}, {high}]{of}, needed {needed}{end}"


def _side(side: dict[str, Any], arms: dict[str, Any]) -> str:
    """Return an arm's short name and its value; the architecture is named where the claim names it."""
    value = number(side["value"], side["metric"])
    if "arm" not in side:
        return value
    about = arms.get(side["arm"], {})
    of = f" of the {side['architecture']}" if "architecture" in side else ""
    return f"{about.get('short', about.get('label', side['arm']))}{of} {value}"

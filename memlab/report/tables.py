"""A report's tables, as text: the arms with their numbers, the claims with their verdicts."""

import math
import os
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from memlab.report.claims import REFUTED
from memlab.report.collect import Row
from memlab.report.report import Report, seconds
from memlab.report.uncertainty import Unmeasurable, estimate, seed_values, standard_error
from memlab.report.units import PUBLISHED, number, title

ON_TERMINAL = ("claim", "verdict", "difference", "needed", "margin")


def summary(report: Report, metrics: Sequence[str]) -> list[list[str]]:
    """The arms table as text, header first; a line per architecture and arm.

    A metric with published values has a column more. Steps and minutes are means over seeds.
    """
    published = {
        (entry["architecture"], entry["arm"], entry["metric"]): entry["value"] for entry in report.expected["published"]
    }
    compared = [metric for metric in metrics if any(key[2] == metric for key in published)]
    header = ["architecture", "arm"]
    for metric in metrics:
        header += [title(metric), PUBLISHED] if metric in compared else [title(metric)]
    lines = [[*header, "seeds", "steps", "minutes"]]
    for architecture, arm in dict.fromkeys((row.get("architecture"), row.get("arm")) for row in report.rows):
        rows = [row for row in report.rows if (row.get("architecture"), row.get("arm")) == (architecture, arm)]
        line = [str(architecture), report.expected["arms"].get(arm, {}).get("label", str(arm))]
        for metric in metrics:
            line.append(_value(rows, metric))
            if metric in compared:
                known = published.get((architecture, arm, metric))
                line.append("-" if known is None else number(known, metric))
        steps, minutes = (
            math.fsum(row[key] for row in rows) / len(rows) / unit for key, unit in (("steps", 1), ("seconds", 60))
        )
        lines.append([*line, str(len(rows)), f"{steps:,.0f}", f"{minutes:.1f}"])
    return lines


def verdicts(report: Report) -> list[list[str]]:
    """The claims table as text, header first."""
    lines = [["claim", "verdict", "left", "right", "difference", "needed", "margin", "how"]]
    for claim in report.claims:
        measured = claim["measured"]
        metric = measured["left"]["metric"]
        sides = [_side(measured[key]) for key in ("left", "right")]
        change, margin, how = "-", "-", measured.get("reason", "")
        if measured["difference"] is not None:
            low, high = (number(value, metric, signed=True) for value in measured["interval"])
            change = f"{number(measured['difference'], metric, signed=True)} [{low}, {high}]"
            how = f"{measured['method']}; seeds {', '.join(map(str, measured['seeds']))}"
            if measured["margin_se"] is not None:
                margin = f"{measured['margin_se']:+.1f} s.e."
        needed = f"≥ {number(measured['smallest_effect'], metric, signed=True)}"
        lines.append([claim["id"], claim["verdict"], *sides, change, needed, margin, how])
    return lines


def markdown(report: Report, pictures: Sequence[str]) -> str:
    """The content of report.md; `pictures` lie beside it."""
    hardware = "; ".join(sorted({row["hardware"] for row in report.rows if row["hardware"]})) or "unknown hardware"
    arms = summary(report, report.metrics)
    parts = [
        f"# {report.experiment}, scale {report.scale}",
        str(report.expected.get("title", "")),
        f"```\n{report.command}\n```",
        "## Arms",
        _pipe_table(arms),
        "Mean ± standard error over seeds, n as in the column seeds. With one seed: the value with its 95 % interval "
        "over evaluation windows (bootstrap), which leaves out the spread between training runs; no interval where the "
        "windows are not at hand. Steps and minutes are a point's whole chain, encoder pretraining included. "
        f"All stages, shared ones once: {seconds(report.rows) / 60:.1f} minutes on {hardware}.",
        _sources(report) if PUBLISHED in arms[0] else "",
        "## Claims",
        _pipe_table(verdicts(report)),
        "Accuracies in percent, their differences in percentage points. A claim holds if the difference is at least "
        "what is needed and its 95 % interval excludes differences below 0; where less than 0 is needed (left is not "
        "worse by more), below that. One that does not is undecided as long as its interval reaches what is needed: "
        "more seeds could tell. Intervals are over seeds (Student's t) from three seeds on, else over evaluation "
        "windows. Margin: the difference less what is needed, in standard errors over seeds; none with one seed.",
        "\n".join(f"- `{claim['id']}` ({claim['source']}): {claim['text']}" for claim in report.expected["claims"]),
    ]
    if report.unfinished:
        parts.append("Not finished: " + "; ".join(report.unfinished) + ".")
    if pictures:
        parts += ["## Figures", "\n\n".join(f"![{report.experiment}]({picture})" for picture in pictures)]
    return "\n\n".join(part for part in parts if part) + "\n"


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the arms and the claims as tables, then where the report lies."""
    console = console or Console()
    # A terminal has no room for everything: two metrics, and not how each difference was measured.
    claims = verdicts(report)
    kept = [claims[0].index(name) for name in ON_TERMINAL]
    tables = (
        ("arms", summary(report, report.metrics[:2])),
        ("claims", [[line[place] for place in kept] for line in claims]),
    )
    for name, lines in tables:
        table = Table(title=f"{report.experiment}, {report.scale}: {name}", title_justify="left")
        for cell in lines[0]:
            table.add_column(cell, overflow="fold")
        for line in lines[1:]:
            table.add_row(*map(escape, line), style="red" if REFUTED in line else None)
        console.print(table)
    measured = (claim["measured"] for claim in report.claims)
    hows = dict.fromkeys(found["method"] for found in measured if found["difference"] is not None)
    console.print(f"accuracies in %, their differences in points; intervals: {', '.join(hows) or 'none'}", markup=False)
    if report.unfinished:
        console.print(f"not finished: {'; '.join(report.unfinished)}", markup=False)
    console.print(f"report: {os.path.relpath(report.folder / 'report.md')}", markup=False, soft_wrap=True)


def _value(rows: Sequence[Row], metric: str) -> str:
    values = seed_values(rows, metric)
    if not len(values):
        return "-"
    mean, error = number(float(values.mean()), metric), standard_error(values)
    if error is not None:
        return f"{mean} ± {number(error, metric)}"
    try:
        found = estimate(rows, metric)
    except Unmeasurable:
        return mean
    return f"{mean} [{number(found.low, metric)}, {number(found.high, metric)}]"


def _sources(report: Report) -> str:
    sources = dict.fromkeys(str(entry["source"]) for entry in report.expected["published"])
    return f"Columns “{PUBLISHED}” are the paper's models, not ours: {'; '.join(sources)}."


def _side(side: dict[str, Any]) -> str:
    names = " ".join(str(side[key]) for key in ("arm", "architecture") if key in side)
    return names if side["value"] is None else f"{names} {number(side['value'], side['metric'])}"


def _pipe_table(lines: Sequence[Sequence[str]]) -> str:
    header, *body = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(f"| {line} |" for line in (header, " | ".join(["---"] * len(lines[0])), *body))

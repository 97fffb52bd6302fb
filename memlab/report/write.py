"""Write a report: report.json, results.csv, report.md and the figure, each whole or not at all."""

import csv
import importlib.util
import io
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

from memlab import paths
from memlab.files import write_atomic, write_json
from memlab.report.claims import Expected, evaluate, load_expected
from memlab.report.collect import BULKY, COSTS, Point, Row, collect, is_finished, label
from memlab.report.uncertainty import Unmeasurable, estimate

FIGURE = "figure.png"
VERDICTS = {True: "holds", False: "does not hold", None: "not measured"}


@dataclass
class Report:
    """What a report says, and where it was written."""

    experiment: str
    scale: str
    rows: list[Row]
    claims: list[dict[str, Any]]
    folder: Path
    command: str
    expected: Expected
    unfinished: list[str] = field(default_factory=list)  # points asked for without a finished run


def make_report(experiment: str, scale: str, points: Sequence[Point], folder: Path, command: str) -> Report:
    """Read the run folders of `points`, judge the experiment's claims and write the report into `folder`.

    Any subset of arms, architectures and seeds will do: a claim that lacks its rows is left open, and a report without
    any finished run has no figure. `command` is the command that reproduces the report; it is printed, never run.

    Raises:
        ValueError: the experiment is unknown, or a file of a finished run cannot be read.
    """
    source = paths.experiments() / experiment
    if not source.is_dir():
        known = sorted(path.parent.name for path in source.parent.glob("*/expected.yaml"))
        raise ValueError(f"no experiment {experiment!r}: choose one of {known}")
    expected = load_expected(source / "expected.yaml")
    rows = sorted(collect(points), key=lambda row: _order(row, expected))
    claims = evaluate(expected["claims"], rows)
    unfinished = [label(point["choices"]) for point in points if not is_finished(point)]
    report = Report(experiment, scale, rows, claims, Path(folder), command, expected, unfinished)
    report.folder.mkdir(parents=True, exist_ok=True)
    write_json(report.folder / "report.json", _finite(as_dict(report)))
    write_atomic(report.folder / "results.csv", _csv(rows).encode())
    if rows:
        _draw(source / "figure.py", report)
    write_atomic(report.folder / "report.md", markdown(report).encode())
    return report


def as_dict(report: Report) -> dict[str, Any]:
    """The content of report.json."""
    return {
        "experiment": report.experiment,
        "scale": report.scale,
        "rows": [_slim(row) for row in report.rows],
        "claims": report.claims,
        "command": report.command,
        "unfinished": report.unfinished,
        "provenance": {
            "commits": sorted({str(row["commit"]) for row in report.rows if row["commit"]}),
            "dirty": any(row["dirty"] for row in report.rows),
            "hardware": sorted({row["hardware"] for row in report.rows if row["hardware"]}),
            "seconds": seconds(report.rows),
        },
    }


def seconds(rows: Sequence[Row]) -> float:
    """Training time behind `rows`; a stage that several of them share counts once."""
    return math.fsum({stage["run"]: stage["seconds"] for row in rows for stage in row["stages"]}.values())


def summary(report: Report) -> list[list[str]]:
    """The arms table as text, header first; a line per architecture and arm: mean over seeds and 95 % interval."""
    metrics = report.expected.get("metrics", ["token_accuracy"])
    lines = [["architecture", "arm", *(_title(metric) for metric in metrics), "seeds", "steps", "minutes"]]
    for architecture, arm in dict.fromkeys((row.get("architecture"), row.get("arm")) for row in report.rows):
        rows = [row for row in report.rows if (row.get("architecture"), row.get("arm")) == (architecture, arm)]
        steps, minutes = (
            math.fsum(row[key] for row in rows) / len(rows) / unit for key, unit in (("steps", 1), ("seconds", 60))
        )
        name = report.expected["arms"].get(arm, {}).get("label", str(arm))
        values = [_interval(rows, metric) for metric in metrics]
        lines.append([str(architecture), name, *values, str(len(rows)), f"{steps:,.0f}", f"{minutes:.1f}"])
    return lines


def verdicts(report: Report) -> list[list[str]]:
    """The claims table as text, header first."""
    lines = [["claim", "verdict", "left", "right", "difference", "needed", "how"]]
    for claim in report.claims:
        measured = claim["measured"]
        metric = measured["left"]["metric"]
        sides = [_side(measured[key]) for key in ("left", "right")]
        change, how = "-", measured.get("reason", "")
        if measured["difference"] is not None:
            low, high = (_number(value, metric, signed=True) for value in measured["interval"])
            change = f"{_number(measured['difference'], metric, signed=True)} [{low}, {high}]"
            how = f"{measured['method']}; seeds {', '.join(map(str, measured['seeds']))}"
        needed = f"≥ {_number(measured['smallest_effect'], metric, signed=True)}"
        lines.append([claim["id"], VERDICTS[claim["holds"]], *sides, change, needed, how])
    return lines


def markdown(report: Report) -> str:
    """The content of report.md."""
    statements = {claim["id"]: claim for claim in report.expected["claims"]}
    hardware = "; ".join(sorted({row["hardware"] for row in report.rows if row["hardware"]})) or "unknown hardware"
    parts = [
        f"# {report.experiment}, scale {report.scale}",
        str(report.expected.get("title", "")),
        f"```\n{report.command}\n```",
        "## Arms",
        _pipe_table(summary(report)),
        "Mean over seeds with its 95 % interval: over seeds (Student's t) from three seeds on, else over evaluation "
        "windows (bootstrap), which leaves out the spread between training runs. Steps and minutes are a point's whole "
        f"chain, encoder pretraining included. All stages, shared ones once: {seconds(report.rows) / 60:.1f} minutes "
        f"on {hardware}.",
        "## Claims",
        _pipe_table(verdicts(report)),
        "Accuracies in percent, their differences in percentage points. A claim holds if the difference is at least "
        "what is needed and its 95 % interval excludes differences below 0.",
        "\n".join(f"- `{name}` ({claim['source']}): {claim['text']}" for name, claim in statements.items()),
    ]
    if report.unfinished:
        parts.append("Not finished: " + "; ".join(report.unfinished) + ".")
    if report.rows:
        parts += ["## Figure", f"![{report.experiment}]({FIGURE})"]
    return "\n\n".join(part for part in parts if part) + "\n"


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the arms and the claims as tables, then where the report lies."""
    console = console or Console()
    # A terminal has no room for everything: the arms' values stand in the first table already, and how a difference
    # was measured is mostly the same for all.
    arms = [[cell for place, cell in enumerate(line) if place != 4] for line in summary(report)]
    claims = verdicts(report)
    for title, lines in (("arms", arms), ("claims", [line[:2] + line[4:6] for line in claims])):
        table = Table(title=f"{report.experiment}, {report.scale}: {title}", title_justify="left")
        for name in lines[0]:
            table.add_column(name, overflow="fold")
        for line in lines[1:]:
            table.add_row(*line, style="red" if VERDICTS[False] in line else None)
        console.print(table)
    hows = dict.fromkeys(line[6] for line in claims[1:] if line[6])
    console.print(f"differences in percentage points; intervals: {' | '.join(hows)}", markup=False)
    if report.unfinished:
        console.print(f"not finished: {'; '.join(report.unfinished)}", markup=False)
    console.print(f"report: {os.path.relpath(report.folder / 'report.md')}", markup=False, soft_wrap=True)


def _draw(script: Path, report: Report) -> None:
    """Run the experiment's `draw(rows, expected, path)` in a folder of its own, then move its files into the report."""
    specification = importlib.util.spec_from_file_location(f"memlab_figure_{report.experiment}", script)
    assert specification is not None and specification.loader is not None, script
    module: ModuleType = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with tempfile.TemporaryDirectory(dir=report.folder, prefix=".figure-") as temporary:
        module.draw(report.rows, report.expected, Path(temporary) / FIGURE)
        for file in sorted(Path(temporary).iterdir()):
            os.replace(file, report.folder / file.name)


def _order(row: Row, expected: Expected) -> tuple[str, int, str, int]:
    arms = list(expected["arms"])
    arm = str(row.get("arm"))
    return str(row.get("architecture")), arms.index(arm) if arm in arms else len(arms), arm, int(row.get("seed", 0))


def _slim(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in BULKY}


def _csv(rows: Sequence[Row]) -> str:
    slim = [_slim(row) for row in rows]
    names = list(dict.fromkeys(name for row in slim for name in row))
    last = [*COSTS, "commit", "dirty", "hardware", "run"]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*(name for name in names if name not in last), *last], lineterminator="\n")
    writer.writeheader()
    writer.writerows(slim)
    return text.getvalue()


def _finite(value: Any) -> Any:
    """Strict JSON has no NaN or infinity: a diverged run's metrics become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _interval(rows: Sequence[Row], metric: str) -> str:
    try:
        found = estimate(rows, metric)
    except Unmeasurable:
        values = [row[metric] for row in rows if row.get(metric) is not None]
        return _number(math.fsum(values) / len(values), metric) if values else "-"
    value, low, high = (_number(number, metric) for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _side(side: dict[str, Any]) -> str:
    names = " ".join(str(side[key]) for key in ("arm", "architecture") if key in side)
    return names if side["value"] is None else f"{names} {_number(side['value'], side['metric'])}"


def _is_share(metric: str) -> bool:
    return metric.endswith("accuracy")


def _title(metric: str) -> str:
    return metric.replace("_", " ") + (" (%)" if _is_share(metric) else "")


def _number(value: float, metric: str, signed: bool = False) -> str:
    """Accuracies in percent with one decimal, everything else with three."""
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f}" if _is_share(metric) else f"{value:{sign}.3f}"


def _pipe_table(lines: Sequence[Sequence[str]]) -> str:
    header, *body = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(f"| {line} |" for line in (header, " | ".join(["---"] * len(lines[0])), *body))

"""Write a report: report.json, results.csv, report.md and the figures, each whole or not at all.

The report of a sweep is made from its run folders. `publish` copies it into the experiment's results/, to be committed;
`redraw` makes a report from there where there are no run folders.
"""

import csv
import importlib.util
import io
import json
import math
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from memlab.config import paths
from memlab.errors import UserError
from memlab.report.claims import evaluate, load_expected
from memlab.report.collect import BULKY, COSTS, Point, Row, collect, is_finished, label
from memlab.report.report import Report, as_dict
from memlab.report.tables import markdown
from memlab.storage.files import read_json, write_atomic

FIGURE = "figure.png"
PLAIN = "laptop"  # the pictures of these results, the default scale's, are results/figure*; others' carry their name
PUBLISHED_SUFFIXES = (".png", ".pdf")
PRIVATE = ("runs_dir=", "logger=", "hydra.")  # overrides that say something about a machine and nothing about a result


def make_report(
    experiment: str, scale: str, points: Sequence[Point], folder: Path, command: str, kept: Sequence[Row] = ()
) -> Report:
    """Read the run folders of `points`, judge the experiment's claims and write the report into `folder`.

    Any subset of arms, architectures and seeds will do: a claim that lacks its rows is left open, and a report without
    any finished run has no figure. `command` is the command that reproduces the report; it is printed, never run.
    kept: rows of earlier reports. One of the very run that a point names stands in for it where its folder is gone.

    Raises:
        UserError: the experiment is unknown, or a file of a finished run cannot be read.
    """
    expected = load_expected(_source(experiment) / "expected.yaml")
    missing = [point for point in points if not is_finished(point)]
    gone = {(label(point["choices"]), Path(point["folder"]).name) for point in missing}
    stand_ins = {label(row): row for row in kept if (label(row), row["run"]) in gone}
    rows = sorted([*collect(points), *stand_ins.values()], key=lambda row: _order(row, list(expected["arms"])))
    claims = evaluate(expected["claims"], rows)
    unfinished = [name for point in missing if (name := label(point["choices"])) not in stand_ins]
    report = Report(experiment, scale, rows, claims, Path(folder), command, expected, unfinished)
    _write(report)
    return report


def publish(report: Report, name: str) -> list[Path]:
    """Write results/`name`.csv, .json and .md and the figures (PNG and PDF) into the experiment's folder; their paths.

    Raises UserError if rows that are there would be lost.
    """
    results = _source(report.experiment) / "results"
    before = {label(row) for row in committed_rows(report.experiment, name)}
    if lost := sorted(before - {label(row) for row in report.rows}):
        raise UserError(
            f"results/{name} has {len(lost)} rows that this sweep lacks ({lost[0]} is one): widen the sweep (rows whose"
            " run folders are gone are kept if they are of the very runs it names), or give its files another name,"
            " --name NAME"
        )
    kept = [word for word in shlex.split(report.command) if not word.startswith(PRIVATE)]
    report = replace(report, command=shlex.join(kept))
    written = [results / f"{name}.csv", results / f"{name}.json"]
    write_atomic(written[0], _csv(report.rows).encode())
    write_atomic(written[1], _json(as_dict(report)).encode())
    ending = "" if name == PLAIN else f"_{name}"
    for picture in report.pictures:
        for suffix in PUBLISHED_SUFFIXES:
            written.append(results / f"{picture.stem}{ending}{suffix}")
            shutil.copyfile(picture.with_suffix(suffix), written[-1])
    pictures = [path.name for path in written if path.suffix == ".png"]
    written.append(results / f"{name}.md")
    write_atomic(written[-1], markdown(report, pictures).encode())
    return written


def committed(experiment: str) -> list[str]:
    """Names of the results that the experiment's folder has."""
    return sorted(path.stem for path in (_source(experiment) / "results").glob("*.json"))


def committed_rows(experiment: str, name: str) -> list[Row]:
    """Rows of those results, without the sums of their windows; none where there are no such results."""
    if name not in committed(experiment):
        return []
    rows: list[Row] = read_json(_source(experiment) / "results" / f"{name}.json")["rows"]
    return rows


def redraw(experiment: str, name: str, folder: Path) -> Report:
    """Write the report of committed results into `folder`: their rows and verdicts, tables and figures anew.

    Intervals need three seeds here: those over windows need the run folders.

    Raises:
        UserError: there are no such results.
    """
    source = _source(experiment)
    path = source / "results" / f"{name}.json"
    if not path.is_file():
        known = ", ".join(committed(experiment)) or "none"
        raise UserError(f"{experiment} has no committed results {name!r}: choose among those it has ({known})")
    kept = read_json(path)
    if not all("stages" in row for row in kept["rows"]):
        raise UserError(f"{path} was written by an older memlab and has no curves: publish it again, {kept['command']}")
    expected = load_expected(source / "expected.yaml")
    report = Report(
        **{key: kept[key] for key in ("experiment", "scale", "rows", "claims", "command", "unfinished")},
        folder=Path(folder),
        expected=expected,
    )
    _write(report)
    return report


def _source(experiment: str) -> Path:
    source = paths.experiments() / experiment
    if not source.is_dir():
        known = sorted(path.parent.name for path in source.parent.glob("*/expected.yaml"))
        raise UserError(f"no experiment {experiment!r}: choose one of {known}")
    return source


def _write(report: Report) -> None:
    report.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(report.folder / "report.json", _json(as_dict(report)).encode())
    write_atomic(report.folder / "results.csv", _csv(report.rows).encode())
    if report.rows:
        _draw(_source(report.experiment) / "figure.py", report)
    names = [picture.name for picture in report.pictures] if report.rows else []
    write_atomic(report.folder / "report.md", markdown(report, names).encode())


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


def _order(row: Row, arms: list[str]) -> tuple[str, int, str, int]:
    arm = str(row.get("arm"))
    return str(row.get("architecture")), arms.index(arm) if arm in arms else len(arms), arm, int(row.get("seed", 0))


def _csv(rows: Sequence[Row]) -> str:
    slim = [{key: value for key, value in row.items() if key not in BULKY} for row in rows]
    names = list(dict.fromkeys(name for row in slim for name in row))
    last = [*COSTS, "commit", "dirty", "hardware", "run"]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*(name for name in names if name not in last), *last], lineterminator="\n")
    writer.writeheader()
    writer.writerows(slim)
    return text.getvalue()


def _json(value: Any) -> str:
    """Indented, but a list of numbers on one line: a curve would be hundreds of lines."""
    text = json.dumps(_finite(value), indent=1, allow_nan=False)
    # JSON strings hold no line breaks, so this matches lists only.
    return re.sub(r"\[\n[^\[\]{}\"]*\]", lambda match: re.sub(r"\s+", "", match.group()), text) + "\n"


def _finite(value: Any) -> Any:
    """Strict JSON has no NaN or infinity: a diverged run's metrics become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

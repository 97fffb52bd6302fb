"""Make a report from run folders, publish it into the experiment's results/, redraw it from there."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from memlab.errors import UserError
from memlab.report.claims import evaluate
from memlab.report.collect import Point, Row, collect, is_finished, label
from memlab.report.expected import load_expected
from memlab.report.report import Report
from memlab.report.writers import WRITERS, Writer, committed_writers, figure_module, source, write_all
from memlab.storage.files import read_json

PLAIN = "laptop"  # pictures of the default scale are results/figure*; those of other results carry their name
# Overrides that say something about a machine and nothing about a result, by the first part of their key; besides them
# every override whose value is a path outside the working folder.
PRIVATE = ("runs_dir", "logger", "hydra")
_PATH = re.compile(r"""(?:^|[\[{(,:'"\s])(?:/|~|\.\.?/)""")


def make_report(
    experiment: str,
    scale: str,
    points: Sequence[Point],
    folder: Path,
    command: str,
    kept: Sequence[Row] = (),
    writers: Sequence[Writer] = WRITERS,
) -> Report:
    """Assemble the report of `points` and write it into `folder`. Arguments and errors are those of `assemble`."""
    report = assemble(experiment, scale, points, folder, command, kept)
    write_all(report, report.folder, writers)
    return report


def assemble(
    experiment: str, scale: str, points: Sequence[Point], folder: Path, command: str, kept: Sequence[Row] = ()
) -> Report:
    """Read the run folders of `points` and judge the experiment's claims; write nothing.

    Any subset of arms, architectures and seeds will do: a claim that lacks its rows stays open, and a report without
    any finished run has no figure. `command` reproduces the report; it is printed, never run.
    kept: rows of earlier reports. Such a row stands in for a point whose run folder is gone, if it is of that very run.

    Raises:
        UserError: the experiment is unknown, or a file of a finished run cannot be read.
    """
    expected = load_expected(source(experiment) / "expected.yaml")
    missing = [point for point in points if not is_finished(point)]
    gone = {(label(point["choices"]), Path(point["folder"]).name) for point in missing}
    stand_ins = {label(row): row for row in kept if (label(row), row["run"]) in gone}
    rows = sorted([*collect(points), *stand_ins.values()], key=lambda row: _order(row, list(expected["arms"])))
    derive = getattr(figure_module(experiment), "derive", None)
    rows = rows if derive is None else derive(rows)
    unfinished = [name for point in missing if (name := label(point["choices"])) not in stand_ins]
    verdicts = evaluate(expected["claims"], rows)
    return Report(experiment, scale, rows, verdicts, Path(folder), command, expected, unfinished)


def publish(report: Report, name: str) -> list[Path]:
    """Write the report into the experiment's results/, to be committed, as `name`.csv, .json, .md and figures.

    The command loses what is private to a machine: paths, loggers, launchers. Returns the paths of the files.
    Raises UserError if rows that are there would be lost.
    """
    before = {label(row) for row in committed_rows(report.experiment, name)}
    if lost := sorted(before - {label(row) for row in report.rows}):
        raise UserError(
            f"results/{name} has {len(lost)} rows that this sweep lacks ({lost[0]} is one): widen the sweep (rows whose"
            " run folders are gone are kept if they are of the very runs it names), or give its files another name,"
            " --name NAME"
        )
    ending = "" if name == PLAIN else f"_{name}"
    report = replace(report, command=public(report.command))
    return write_all(report, source(report.experiment) / "results", committed_writers(name, ending))


def public(command: str) -> str:
    """Return the command without overrides that are private to a machine."""
    return shlex.join(word for word in shlex.split(command) if not _is_private(word))


def committed(experiment: str) -> list[str]:
    """Return the names of the results that the experiment's folder has."""
    return sorted(path.stem for path in (source(experiment) / "results").glob("*.json"))


def committed_rows(experiment: str, name: str) -> list[Row]:
    """Return the rows of committed results, without the sums of their windows; none if there are no such results."""
    if name not in committed(experiment):
        return []
    rows: list[Row] = _read(source(experiment) / "results" / f"{name}.json")["rows"]
    return rows


def redraw(experiment: str, name: str, folder: Path) -> Report:
    """Write the report of committed results into `folder`, with tables and figures made anew; see `read_committed`."""
    report = read_committed(experiment, name, folder)
    write_all(report, report.folder)
    return report


def read_committed(experiment: str, name: str, folder: Path) -> Report:
    """Return the report of committed results: their rows and verdicts; write nothing. `folder` is the report's own.

    Intervals need three seeds here, because those over windows need the run folders.

    Raises:
        UserError: there are no such results, or their file cannot be read.
    """
    path = source(experiment) / "results" / f"{name}.json"
    if not path.is_file():
        known = ", ".join(committed(experiment)) or "none"
        raise UserError(f"{experiment} has no committed results {name!r}: choose among those it has ({known})")
    kept = _read(path)
    if not all("stages" in row for row in kept["rows"]):
        raise UserError(f"{path} was written by an older memlab and has no curves: publish it again, {kept['command']}")
    return Report(
        **{key: kept[key] for key in ("experiment", "scale", "rows", "claims", "command", "unfinished")},
        folder=Path(folder),
        expected=load_expected(source(experiment) / "expected.yaml"),
    )


def _is_private(override: str) -> bool:
    key, _, value = override.partition("=")
    first = re.split(r"[./]", key.lstrip("+~"))[0]
    return first in PRIVATE or key.endswith(".path") or _PATH.search(value) is not None


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(path)
        content["rows"], content["claims"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}): take it from git again") from None
    return content


def _order(row: Row, arms: list[str]) -> tuple[str, int, str, int]:
    arm = str(row.get("arm"))
    return str(row.get("architecture")), arms.index(arm) if arm in arms else len(arms), arm, int(row.get("seed", 0))

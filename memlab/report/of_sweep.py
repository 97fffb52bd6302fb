"""The report of a sweep: which points it has, from where it is made, and what is printed about it.

A sweep writes two files into its report's folder, so that the report can be made again where its configs cannot be
composed or its text is not at hand: points.json, the points with the names of their run folders, and command.json, the
overrides. Everything here takes plain arguments; neither Hydra nor torch is imported.
"""

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from memlab.errors import UserError, explain
from memlab.progress import console
from memlab.report.collect import Point, Row, evaluated, is_finished
from memlab.report.expected import load_expected
from memlab.report.measured import ROUNDS
from memlab.report.report import Report
from memlab.report.terminal import print_report
from memlab.report.write import make_report, redraw
from memlab.report.writers import WRITERS, Writer, source
from memlab.storage.files import read_json, write_json
from memlab.storage.run_folder import RunFolder

POINTS_FILE = "points.json"
COMMAND_FILE = "command.json"
WIDER = ("architecture=mixer,transformer", "seed=0,1,2,3,4")


class NothingFinishedError(UserError):
    """A report was asked for of a sweep without a finished point."""


def require_reportable(experiment: str, points: Iterable[tuple[str, Path]]) -> None:
    """Raise UserError for an experiment without claims, and for points that its report could not tell apart.

    points: label and run folder of each.
    """
    load_expected(source(experiment) / "expected.yaml")
    folders: dict[str, Path] = {}
    for label, folder in points:
        if folders.setdefault(label, folder) != folder:
            raise UserError(
                f"two points have the same architecture, arm and seed ({label}), so a report could not tell them"
                " apart: run one command per value of anything else"
            )


def write_points(folder: Path, overrides: Sequence[str], points: Sequence[Point]) -> None:
    """Write a sweep's points and overrides into `folder`, the one of its report."""
    write_json(folder / COMMAND_FILE, list(overrides))
    kept = [
        {**point, "folder": Path(point["folder"]).name, "stages": [Path(stage).name for stage in point["stages"]]}
        for point in points
    ]
    write_json(folder / POINTS_FILE, kept)


def read_points(folder: Path, runs_dir: Path) -> list[Point] | None:
    """Return the points that `write_points` wrote into `folder`; None if they are missing or cannot be read."""
    try:
        kept: list[Any] = read_json(folder / POINTS_FILE)
        for point in kept:
            root = runs_dir / ("measurements" if "measured" in point else "stages")
            point.update(folder=root / point["folder"], stages=[root / stage for stage in point["stages"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return kept


def find_points(planned: Callable[[], Sequence[Point]], folder: Path, runs_dir: Path) -> Sequence[Point]:
    """Return the points of a sweep as `planned()` gives them from its configs.

    Where `planned` raises UserError (the text is not here, say) or none of its points is finished, they are those that
    the last run of the sweep wrote into `folder`, if there are any.
    """
    try:
        points = planned()
    except UserError:
        written = read_points(folder, runs_dir)
        if written is None:
            raise
        return written
    if any(map(is_finished, points)):
        return points
    return read_points(folder, runs_dir) or points


def make_sweep_report(
    *,
    experiment: str | None,
    scale: str,
    runs_dir: Path,
    folder: Path,
    command: str,
    points: Sequence[Point],
    kept: Sequence[Row] = (),
    writers: Sequence[Writer] = WRITERS,
) -> Report:
    """Write the report of a sweep's finished points into `folder` and print it; `kept`: see make_report.

    Raises:
        UserError: the sweep has no experiment.
        NothingFinishedError: none of its points is finished.
    """
    experiment = _required(experiment)
    if not any(map(is_finished, points)):
        raise NothingFinishedError(
            f"no point of this sweep is finished in {runs_dir}: run it first, {command}; or redraw the results that"
            f" came with the code: python -m memlab.report +experiment={experiment} --from-results"
        )
    report = make_report(experiment, scale, points, folder, command, kept, writers)
    print_report(report, console)
    return report


def report_sweep(*, overrides: Sequence[str], **of_sweep: Any) -> list[str]:
    """Make the report at the end of a sweep, and print what may come next; return the message of a user's mistake.

    of_sweep: as make_sweep_report takes it.
    """
    try:
        print_next(make_sweep_report(**of_sweep), overrides)
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        return [message]
    return []


def make_committed_report(*, experiment: str | None, name: str, folder: Path) -> Report:
    """Write the report of committed results, results/<name>.json of the experiment, into `folder` and print it.

    Raises UserError if there are no such results.
    """
    report = redraw(_required(experiment), name, folder)
    print_report(report, console)
    return report


def print_point(label: str, point: Point) -> None:
    """Print the result of a point that belongs to no experiment."""
    folder = point["folder"]
    metrics = evaluated(RunFolder.open(folder), point["evaluations"]).metrics
    table = Table("metric", "value", title=f"{folder.name}, {label}", title_justify="left")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4g}")
    console.print(table)
    console.print(
        f"run folder: {os.path.relpath(folder)} (metrics.csv, evaluation-*.json, samples.jsonl, model.safetensors)\n"
        "next:       python -m memlab.run +experiment=copy_curriculum",
        markup=False,
    )


def print_next(report: Report, overrides: Sequence[str]) -> None:
    """Print where the pictures are and which commands may come next, ready to be pasted into a shell."""
    given = list(overrides)
    measured = any(ROUNDS in row for row in report.rows)
    what, wider = ("", WIDER[:1]) if measured else (" and the spread over seeds", WIDER)
    source = "what was measured" if measured else "the run folders"
    swept = tuple(f"{override.split('=')[0]}=" for override in wider)
    kept = [override for override in given if not override.startswith(swept)]
    for picture in report.pictures:
        console.print(f"picture: {os.path.relpath(picture)}", markup=False)
    console.print(
        f"next: both architectures{what}\n  {_command('memlab.run', [*kept, *wider])}\n"
        f"or this report again, from {source}\n  {_command('memlab.report', given)}",
        markup=False,
    )


def _command(module: str, overrides: Sequence[str]) -> str:
    return shlex.join(["python", "-m", module, *overrides])


def _required(experiment: str | None) -> str:
    if experiment is None:
        raise UserError("there is no report without an experiment: add +experiment=NAME")
    return experiment

"""Make a report again: python -m memlab.report +experiment=NAME [the sweep's overrides] [options].

Exit status: 0 if every claim holds, 3 if one does not, is undecided or was not measured, 2 for a mistake. With --all:
0, or 2 for a mistake.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memlab.config import paths
from memlab.errors import UserError, fail
from memlab.progress import console
from memlab.report import Report, committed, committed_rows, publish
from memlab.report.collect import Point, is_finished
from memlab.report.of_sweep import NothingFinishedError, find_points, make_committed_report, make_sweep_report
from memlab.report.verdict import REFUTED, UNDECIDED, UNMEASURED
from memlab.storage.caches import keep_caches_in

if TYPE_CHECKING:
    from memlab.config.compose import Sweep


def main() -> None:
    options = _parser().parse_intermixed_args()  # overrides and options in any order
    try:
        status = _every(options) if options.all else _one(options)
    except Exception as error:
        fail(error, 2)
    raise SystemExit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m memlab.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", help="as given to memlab.run: +experiment=NAME, scale=gpu, seed=0,1,2")
    parser.add_argument("--all", action="store_true", help="every experiment, from its runs or else from results/")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--from-results", action="store_true", help="redraw experiments/NAME/results, without any runs")
    source.add_argument("--publish", action="store_true", help="copy numbers and pictures to experiments/NAME/results")
    parser.add_argument("--name", help="name of the files in results/, without suffix; default: the scale")
    return parser


def _one(options: argparse.Namespace) -> int:
    sweep = _compose(options.overrides)
    report = _committed(sweep, options) if options.from_results else _from_runs(sweep, options)
    _list(report.pictures)
    for verdict in (REFUTED, UNDECIDED, UNMEASURED):
        names = [claim["id"] for claim in report.claims if claim["verdict"] == verdict]
        if names:
            console.print(f"{verdict}: {', '.join(names)}", markup=False)
    return 0 if all(claim["holds"] for claim in report.claims) else 3


def _every(options: argparse.Namespace) -> int:
    """Make the reports of all experiments; then print, for each, what it was made from and where its pictures are."""
    origins: list[str] = []
    pictures: list[Path] = []
    for path in sorted(paths.experiments().glob("*/expected.yaml")):
        sweep = _compose([f"+experiment={path.parent.name}", *options.overrides])
        report, origin = _from_either(sweep, options)
        origins.append(f"{path.parent.name}: {origin}")
        pictures += report.pictures if report else []
    for line in origins:
        console.print(line, markup=False)
    _list(pictures)
    return 0


def _from_either(sweep: "Sweep", options: argparse.Namespace) -> tuple[Report | None, str]:
    """Make the report of a sweep if all of it is finished, else of committed results, else of what is finished."""
    name = options.name or sweep.scale
    kept = name in committed(str(sweep.experiment))
    if not (options.from_results or (kept and not all(map(is_finished, _points(sweep))))):
        try:
            return _from_runs(sweep, options), "drawn from run folders"
        except NothingFinishedError:
            pass
    if kept:
        return _committed(sweep, options), f"drawn from the committed results/{name}.json"
    return None, f"nothing to draw yet, run it first: {sweep.command}"


def _from_runs(sweep: "Sweep", options: argparse.Namespace) -> Report:
    name = options.name or sweep.scale
    if options.publish and not options.name and sweep.other_changes:
        raise UserError(
            f"{', '.join(sweep.other_changes)} makes another experiment than the one in results/{sweep.scale}: give its"
            " files a name, --name NAME"
        )
    report = make_sweep_report(
        experiment=sweep.experiment,
        scale=sweep.scale,
        runs_dir=sweep.runs_dir,
        folder=sweep.report_folder,
        command=sweep.command,
        points=_points(sweep),
        kept=committed_rows(str(sweep.experiment), name) if options.publish else (),
    )
    for path in publish(report, name) if options.publish else ():
        console.print(f"published: {os.path.relpath(path)}", markup=False)
    return report


def _committed(sweep: "Sweep", options: argparse.Namespace) -> Report:
    """Make the report of committed results; its folder lies beside the one of the sweep."""
    name = options.name or sweep.scale
    folder = sweep.report_folder.with_name(f"{name}_committed")
    return make_committed_report(experiment=sweep.experiment, name=name, folder=folder)


def _compose(overrides: Sequence[str]) -> "Sweep":
    from memlab.config.compose import compose_sweep  # Hydra: for this command only

    sweep = compose_sweep(list(overrides))
    keep_caches_in(sweep.runs_dir)  # matplotlib's
    return sweep


def _points(sweep: "Sweep") -> Sequence[Point]:
    from memlab.config.measured import points_of
    from memlab.config.plan import plan_all

    def planned() -> list[Point]:
        return points_of(plan_all(sweep.configs))

    return find_points(planned, sweep.report_folder, sweep.runs_dir)


def _list(pictures: Sequence[Path]) -> None:
    for picture in pictures:
        console.print(f"picture: {os.path.relpath(picture)}", markup=False)


if __name__ == "__main__":
    main()

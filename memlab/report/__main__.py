"""The command that makes reports again: python -m memlab.report +experiment=NAME [the sweep's overrides] [options].

Exit status: 0 if every claim holds, 3 if one does not, is undecided or was not measured, 2 for a mistake; with --all 0
or 2.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from memlab.config import paths
from memlab.config.compose import Sweep, compose_sweep
from memlab.errors import UserError, fail
from memlab.progress import console
from memlab.report import Report, committed, committed_rows, publish
from memlab.report.claims import REFUTED, UNDECIDED, UNMEASURED
from memlab.sweep import NothingFinishedError, all_finished, make_committed_report, make_sweep_report


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
    parser.add_argument("--name", help="of the files in results/, without suffix; the default is the scale")
    return parser


def _one(options: argparse.Namespace) -> int:
    sweep = compose_sweep(options.overrides)
    if options.from_results:
        report = make_committed_report(sweep, options.name or sweep.scale)
    else:
        report = _from_runs(sweep, options)
    _list(report.pictures)
    for verdict in (REFUTED, UNDECIDED, UNMEASURED):
        names = [claim["id"] for claim in report.claims if claim["verdict"] == verdict]
        if names:
            console.print(f"{verdict}: {', '.join(names)}", markup=False)
    return 0 if all(claim["holds"] for claim in report.claims) else 3


def _every(options: argparse.Namespace) -> int:
    """Reports of all experiments; then, for each, what it was made from and where its pictures are."""
    origins: list[str] = []
    pictures: list[Path] = []
    for path in sorted(paths.experiments().glob("*/expected.yaml")):
        sweep = compose_sweep([f"+experiment={path.parent.name}", *options.overrides])
        report, origin = _from_either(sweep, options)
        origins.append(f"{path.parent.name}: {origin}")
        pictures += report.pictures if report else []
    for line in origins:
        console.print(line, markup=False)
    _list(pictures)
    return 0


def _from_either(sweep: Sweep, options: argparse.Namespace) -> tuple[Report | None, str]:
    """The report of a sweep if all of it is finished, else that of committed results, else of what is finished."""
    name = options.name or sweep.scale
    kept = name in committed(str(sweep.experiment))
    if not (options.from_results or (kept and not all_finished(sweep))):
        try:
            return _from_runs(sweep, options), "drawn from run folders"
        except NothingFinishedError:
            pass
    if kept:
        return make_committed_report(sweep, name), f"drawn from the committed results/{name}.json"
    return None, f"nothing to draw yet, run it first: {sweep.command}"


def _from_runs(sweep: Sweep, options: argparse.Namespace) -> Report:
    if options.publish and not options.name and sweep.other_changes:
        raise UserError(
            f"{', '.join(sweep.other_changes)} makes another experiment than the one in results/{sweep.scale}: give its"
            " files a name, --name NAME"
        )
    if not options.publish:
        report: Report = make_sweep_report(sweep)
        return report
    name = options.name or sweep.scale
    report = make_sweep_report(sweep, committed_rows(str(sweep.experiment), name))
    for path in publish(report, name):
        console.print(f"published: {os.path.relpath(path)}", markup=False)
    return report


def _list(pictures: Sequence[Path]) -> None:
    for picture in pictures:
        console.print(f"picture: {os.path.relpath(picture)}", markup=False)


if __name__ == "__main__":
    main()

"""Look after a runs folder.

  python -m memlab.runs list             every run folder: finished, running, stale, failed or stopped
  python -m memlab.runs show NAME        one of them, by its name or the beginning of it
  python -m memlab.runs gc [--delete]    folders that no experiment's sweep needs, and leftovers
  python -m memlab.runs verify           whether all of them are whole

Exit status: 0; 1 if verify finds something; 2 for a mistake.
"""

import argparse
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.markup import escape
from rich.table import Table

from memlab.errors import UserError, fail
from memlab.progress import Bars, console
from memlab.runs.state import (
    DAMAGE,
    FAILED,
    FINISHED,
    RUNNING,
    State,
    attempt,
    inside,
    run_folders,
    state_of,
)
from memlab.storage.run_folder import RunFolder

# `gc` and `verify` compose configs, which needs Hydra; they import what they need themselves, so that `list` is quick.
SCORE = "evaluation-score.json"


def main() -> None:
    options = _parser().parse_args()
    try:
        if not (options.runs_dir / "stages").is_dir():
            raise UserError(f"{options.runs_dir} is not a runs folder: give another with --runs-dir, or MEMLAB_RUNS")
        status = {"list": _list, "show": _show, "gc": _gc, "verify": _verify}[options.action](options)
    except Exception as error:
        fail(error, 2)
    raise SystemExit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m memlab.runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("MEMLAB_RUNS") or "runs"
    parser.add_argument(
        "--runs-dir", type=lambda path: Path(path).expanduser(), default=default, help="default: MEMLAB_RUNS, or runs"
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list")
    actions.add_parser("show").add_argument("name")
    actions.add_parser("gc").add_argument("--delete", action="store_true", help="remove what it lists")
    actions.add_parser("verify")
    return parser


def _list(options: argparse.Namespace) -> int:
    table = Table("run folder", "arms", "state", "steps", "architecture", "seed", "token accuracy", "size", "note")
    counts: Counter[str] = Counter()
    for state in _states(options.runs_dir):
        config = state.config
        counts[state.kind] += 1
        cells = (
            state.folder.path.name,
            _arms(config),
            state.kind,
            f"{state.step:,} of {state.steps:,}" if state.steps else "?",
            _text(inside(config, "config", "architecture", "name")),
            _text(inside(config, "config", "seed")),
            _accuracy(state.folder),
            _megabytes(state.folder.path),
            state.note.splitlines()[0][:60] if state.note else "",
        )
        table.add_row(*map(escape, cells), style="red" if state.kind == FAILED else None)
    console.print(table)
    console.print(", ".join(f"{number} {kind}" for kind, number in counts.items()) or "nothing yet", markup=False)
    return 0


def _show(options: argparse.Namespace) -> int:
    found = [folder for folder in run_folders(options.runs_dir) if folder.path.name.startswith(options.name)]
    if len(found) != 1:
        names = ", ".join(folder.path.name for folder in found) or "none"
        raise UserError(f"{options.name} is the beginning of {names}: give the name of one run folder")
    state = state_of(found[0])
    folder, config = state.folder, state.config
    about: dict[str, Any] = {
        "run folder": str(folder.path),
        "arms": _arms(config),
        "state": state.kind,
        "step": state.step,
        **({"note": state.note} if state.note else {}),
        "stage": config.get("stage", "config.yaml cannot be read"),
    }
    if state.kind == FINISHED:
        about["metrics"] = {file: _metrics(folder, file) for file in folder.evaluation_files()}
        provenance = attempt(folder.read_provenance)
        about["provenance"] = "provenance.json cannot be read" if provenance is None else provenance
    about["files"] = sorted(path.name for path in folder.path.iterdir())
    console.print(yaml.safe_dump(about, sort_keys=False, width=120).rstrip(), markup=False)
    return 0


def _gc(options: argparse.Namespace) -> int:
    from memlab.runs.needed import leftovers, needed_folders
    from memlab.runs.remove import remove

    needed, unknown = needed_folders(options.runs_dir)
    for folder in unknown:
        console.print(f"{folder}: cannot tell which runs it needs, its command.json and points.json are damaged")
    states = [state for state in _states(options.runs_dir) if state.kind != RUNNING]
    unneeded = [state.folder.path for state in states if state.folder.path.name not in needed]
    kept = unknown and options.delete
    for title, paths in (("needed by no sweep", unneeded), ("left over", list(leftovers(options.runs_dir)))):
        for path in filter(Path.exists, paths):  # what lay in a folder is gone with it
            console.print(f"{title}: {path} ({_megabytes(path)})", markup=False)
            if options.delete and not (kept and paths is unneeded) and not remove(path, options.runs_dir):
                console.print(f"kept: {path}, a process uses it by now", markup=False)
    if kept:
        raise UserError(
            f"no run was removed, as the runs that {unknown[0]} needs are not known: run that sweep again, or delete"
            " the folder if you do not need it"
        )
    if unneeded and not options.delete:
        console.print(
            "nothing was removed: --delete does. Runs made without an experiment, and those that encoder.run names, are"
            " needed by no sweep either",
            markup=False,
        )
    return 0


def _verify(options: argparse.Namespace) -> int:
    from memlab.runs.verify import problems

    states = _states(options.runs_dir)
    bad = 0
    with Bars(after=2.0) as bars:
        bar = bars.bar("verifying", len(states))
        for number, state in enumerate(states, 1):
            for problem in problems(state):
                bad += 1
                console.print(f"{state.folder.path}: {' '.join(problem.split())}", markup=False)
            bar.update(number)
    counts = Counter(state.kind for state in states)
    console.print(
        f"{len(states)} run folders ({', '.join(f'{number} {kind}' for kind, number in counts.items())}):"
        f" {'all whole' if not bad else f'{bad} problems; delete those folders and run their commands again'}",
        markup=False,
    )
    return 1 if bad else 0


def _states(runs_dir: Path) -> list[State]:
    return [state_of(folder) for folder in run_folders(runs_dir)]


def _arms(config: Mapping[str, Any]) -> str:
    """Return the arms that asked for a stage."""
    arms = config.get("asked_by")
    return ", ".join(map(str, arms)) if isinstance(arms, list) else ""


def _text(value: Any) -> str:
    return "?" if value is None else str(value)


def _metrics(folder: RunFolder, file: str) -> Any:
    try:
        return folder.read_evaluation(file)["metrics"]
    except DAMAGE:
        return f"{file} cannot be read"


def _accuracy(folder: RunFolder) -> str:
    """Return the token accuracy of each table of the stage's own objective, as far as it is known."""
    if not (folder.path / SCORE).is_file():
        return ""
    tables = _metrics(folder, SCORE)
    if not isinstance(tables, dict):
        return f"{SCORE} cannot be read"
    values = [inside(table, "token_accuracy") for table in tables.values()]
    return ", ".join(f"{value:.1%}" for value in values if isinstance(value, int | float))


def _megabytes(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB"


if __name__ == "__main__":
    main()

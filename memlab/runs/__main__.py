"""What is in a runs folder.

  python -m memlab.runs list             every run folder: finished, running, stale, failed or stopped
  python -m memlab.runs show NAME        one of them, by its name or the beginning of it
  python -m memlab.runs gc [--delete]    folders that no experiment's sweep needs, and what else lies there for nothing
  python -m memlab.runs verify           whether all of them are whole

Exit status: 0; 1 if verify finds something; 2 for a mistake.
"""

import argparse
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import yaml
from rich.table import Table

from memlab.errors import UserError, fail
from memlab.progress import Bars, console
from memlab.runs.needed import leftovers, needed_folders
from memlab.runs.state import FAILED, FINISHED, RUNNING, State, read_config, run_folders, state_of
from memlab.runs.verify import problems
from memlab.storage.run_folder import RunFolder


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
    default = Path(os.environ.get("MEMLAB_RUNS", "runs"))
    parser.add_argument("--runs-dir", type=Path, default=default, help="default: MEMLAB_RUNS, or runs")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list")
    actions.add_parser("show").add_argument("name")
    actions.add_parser("gc").add_argument("--delete", action="store_true", help="remove what it lists")
    actions.add_parser("verify")
    return parser


def _list(options: argparse.Namespace) -> int:
    table = Table("run folder", "state", "steps", "architecture", "seed", "token accuracy", "size", "note")
    counts: Counter[str] = Counter()
    for state in _states(options.runs_dir):
        config = read_config(state.folder).get("config", {})
        counts[state.kind] += 1
        table.add_row(
            state.folder.path.name,
            state.kind,
            f"{state.step:,} of {state.steps:,}" if state.steps else "?",
            str(config.get("architecture", {}).get("name", "?")),
            str(config.get("seed", "?")),
            _accuracy(state.folder),
            _megabytes(state.folder.path),
            state.note.splitlines()[0][:60] if state.note else "",
            style="red" if state.kind == FAILED else None,
        )
    console.print(table)
    console.print(", ".join(f"{number} {kind}" for kind, number in counts.items()) or "nothing yet", markup=False)
    return 0


def _show(options: argparse.Namespace) -> int:
    found = [folder for folder in run_folders(options.runs_dir) if folder.path.name.startswith(options.name)]
    if len(found) != 1:
        names = ", ".join(folder.path.name for folder in found) or "none"
        raise UserError(f"{options.name} is the beginning of {names}: give the name of one run folder")
    state = state_of(found[0])
    about = {
        "run folder": str(state.folder.path),
        "state": state.kind,
        "step": state.step,
        **({"note": state.note} if state.note else {}),
        "stage": read_config(state.folder).get("stage", "config.yaml cannot be read"),
    }
    if state.kind == FINISHED:
        about |= {"metrics": state.folder.read_evaluation()["metrics"], "provenance": state.folder.read_provenance()}
    about["files"] = sorted(path.name for path in state.folder.path.iterdir())
    console.print(yaml.safe_dump(about, sort_keys=False, width=120).rstrip(), markup=False)
    return 0


def _gc(options: argparse.Namespace) -> int:
    needed = needed_folders(options.runs_dir)
    unneeded = [
        state.folder.path
        for state in _states(options.runs_dir)
        if state.kind != RUNNING and state.folder.path.name not in needed
    ]
    for title, paths in (("needed by no sweep", unneeded), ("left over", list(leftovers(options.runs_dir)))):
        for path in filter(Path.exists, paths):  # what lay in a folder is gone with it
            console.print(f"{title}: {path} ({_megabytes(path)})", markup=False)
            if options.delete:
                _remove(path)
    if unneeded and not options.delete:
        console.print(
            "nothing was removed: --delete does. Runs made without an experiment, and those that encoder.run names, are"
            " needed by no sweep either",
            markup=False,
        )
    return 0


def _verify(options: argparse.Namespace) -> int:
    states = _states(options.runs_dir)
    bad = 0
    with Bars(after=2.0) as bars:
        bar = bars.bar("verifying", len(states))
        for number, state in enumerate(states, 1):
            for problem in problems(state):
                bad += 1
                console.print(f"{state.folder.path}: {problem}", markup=False)
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


def _accuracy(folder: RunFolder) -> str:
    try:
        metrics = folder.read_evaluation()["metrics"]
        tables = [metrics] if "token_accuracy" in metrics else metrics.values()
        return ", ".join(f"{table['token_accuracy']:.1%}" for table in tables)
    except (OSError, KeyError, TypeError, json.JSONDecodeError):
        return ""


def _megabytes(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


if __name__ == "__main__":
    main()

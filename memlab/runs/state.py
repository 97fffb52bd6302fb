"""What became of a run folder."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from memlab.storage.lock import BEAT, MISSED, described, holder, process_is_dead
from memlab.storage.run_folder import RunFolder

FINISHED = "finished"
RUNNING = "running"  # a process works on it
STALE = "stale"  # a process did, and died: the next command that needs the stage goes on
FAILED = "failed"  # an error ended the last attempt
STOPPED = "stopped"  # a signal or a kill did, and nobody has taken it up since


@dataclass(frozen=True)
class State:
    """`kind`: one of the above; `note`: who works on it, or what went wrong; `step`: the last one saved."""

    folder: RunFolder
    kind: str
    note: str
    step: int
    steps: int | None  # None: its config cannot be read


def run_folders(runs_dir: Path) -> Iterator[RunFolder]:
    """All folders of stages, by name."""
    for path in sorted((runs_dir / "stages").glob("*-*")):
        stage, _, fingerprint = path.name.rpartition("-")
        if path.is_dir():
            yield RunFolder(runs_dir, stage, fingerprint)


def state_of(folder: RunFolder) -> State:
    kind, note = _kind(folder)
    steps = read_config(folder).get("stage", {}).get("training", {}).get("steps")
    files = folder.checkpoint_files()
    saved = int(files[0].stem.removeprefix("step-")) if files else 0
    return State(folder, kind, note, steps if folder.weights.is_file() and steps else saved, steps)


def read_config(folder: RunFolder) -> dict[str, Any]:
    """config.yaml; empty where it cannot be read."""
    try:
        # The C loader is the faster one, which a folder of many runs needs.
        values = yaml.load((folder.path / "config.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


def _kind(folder: RunFolder) -> tuple[str, str]:
    owner = holder(folder.lock)
    if owner:
        return (STALE if _is_dead(folder, owner) else RUNNING), described(owner)
    if folder.finished:
        return FINISHED, ""
    try:
        failure = folder.failure
    except (OSError, KeyError, json.JSONDecodeError):
        failure = "failed.json cannot be read"
    return (STOPPED, "") if failure is None else (FAILED, failure)


def _is_dead(folder: RunFolder, owner: dict[str, Any]) -> bool:
    """As far as one look tells: by this machine's clock, where the holder is on another one."""
    try:
        silent = time.time() - folder.lock.stat().st_mtime
    except FileNotFoundError:
        return False
    return process_is_dead(owner) or silent > 2 * BEAT * MISSED

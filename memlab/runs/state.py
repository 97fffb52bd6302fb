"""What became of a run folder. Reads it as far as it can be read: damage is a note, never an error."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from memlab.storage.lock import BEAT, MISSED, described, holder, process_is_dead
from memlab.storage.run_folder import RunFolder

FINISHED = "finished"
RUNNING = "running"  # a process is working on it
STALE = "stale"  # the process that worked on it died; the next command that needs the stage resumes it
FAILED = "failed"  # an error ended the last attempt
STOPPED = "stopped"  # a signal or a kill ended the last attempt, and nobody has resumed it

# Errors of reading a missing or damaged file; ValueError: not JSON, not UTF-8, or a UserError.
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError)


@dataclass(frozen=True)
class State:
    """`kind`: one of the above; `note`: who works on it, or what went wrong; `step`: the last one saved.

    config: the content of config.yaml, empty if it cannot be read. Its YAML takes longer to read than all the rest.
    """

    folder: RunFolder
    kind: str
    note: str
    step: int
    steps: int | None  # None: config.yaml cannot be read
    config: dict[str, Any] = field(default_factory=dict)


def run_folders(runs_dir: Path) -> Iterator[RunFolder]:
    """Yield the folders of all stages, by name."""
    for path in sorted((runs_dir / "stages").glob("*-*")):
        stage, _, fingerprint = path.name.rpartition("-")
        if path.is_dir():
            yield RunFolder(runs_dir, stage, fingerprint)


def state_of(folder: RunFolder) -> State:
    """Return the state of a run folder, from one look at it."""
    kind, note = _kind(folder)
    config = config_of(folder)
    steps = inside(config, "stage", "training", "steps")
    steps = steps if isinstance(steps, int) else None
    files = folder.checkpoint_files()
    saved = folder.step_of(files[0]) if files else 0
    if not config and kind != RUNNING:
        note = note or "config.yaml cannot be read"
    return State(folder, kind, note, steps if folder.weights.is_file() and steps else saved, steps, config)


def config_of(folder: RunFolder) -> dict[str, Any]:
    """Return the content of config.yaml; empty if it cannot be read."""
    found = attempt(folder.read_config)
    return found if isinstance(found, dict) else {}


def inside(values: Any, *keys: str) -> Any:
    """Return values[key][key]...; None where a key is missing or there is no mapping."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def attempt(read: Callable[[], Any]) -> Any:
    """Return what `read` returns; None if the file is missing or damaged."""
    try:
        return read()
    except DAMAGE:
        return None


def _kind(folder: RunFolder) -> tuple[str, str]:
    owner = attempt(lambda: holder(folder.lock))
    if owner:
        return (STALE if _is_dead(folder, owner) else RUNNING), attempt(lambda: described(owner)) or ""
    if folder.finished:
        return FINISHED, ""
    try:
        failure = folder.failure
    except DAMAGE:
        failure = "failed.json cannot be read"
    return (STOPPED, "") if failure is None else (FAILED, failure)


def _is_dead(folder: RunFolder, owner: dict[str, Any]) -> bool:
    """Whether the lock's holder is dead, as far as one look tells: by this machine's clock for a remote holder."""
    try:
        silent = time.time() - folder.lock.stat().st_mtime
    except FileNotFoundError:
        return False
    return bool(attempt(lambda: process_is_dead(owner))) or silent > 2 * BEAT * MISSED

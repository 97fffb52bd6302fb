"""The run folders of a runs folder, as the page shows them; read again only where something has changed."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from memlab.dashboard.curves import curves, finite, rounded
from memlab.dashboard.samples import marked
from memlab.runs.state import FAILED, FINISHED, RUNNING, attempt, inside, run_folders, state_of
from memlab.storage.run_folder import RunFolder

WAITING = "waiting"  # a stage of a sweep that nothing has begun
SCORE = "evaluation-score.json"
Entry = dict[str, Any]
Mark = tuple[tuple[str, int, int], ...]


class StageReader:
    """Reads the stages of a runs folder, again and again; remembers what has not changed."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._known: dict[str, tuple[Mark, Entry]] = {}

    def read(self) -> dict[str, Entry]:
        """Return {name of the run folder: entry}.

        An entry: name, state, note, step, steps (None: unknown), start (the name of the run folder that the stage
        starts from, or None), seconds (of training so far), left (seconds, or None), arms, architecture, seed, accuracy
        by table, commit, dirty, hardware, versions, curves and samples.
        """
        found = {}
        for folder in run_folders(self.runs_dir):
            mark = attempt(partial(_mark, folder.path))
            if mark is not None:  # else the folder has just been removed
                found[folder.path.name] = self._entry(folder, mark)
        self._known = {name: known for name, known in self._known.items() if name in found}
        _name_starts(found)
        return found

    def _entry(self, folder: RunFolder, mark: Mark) -> Entry:
        name = folder.path.name
        known = self._known.get(name)
        # Whether the holder of a lock still lives is not seen from its files.
        if known is None or known[0] != mark or folder.lock.exists():
            known = self._known[name] = (mark, _read(folder))
        return dict(known[1])


def _mark(path: Path) -> Mark:
    """Return the names, times and sizes of a folder's files: equal marks, equal content."""
    files = [(file.name, file.stat()) for file in sorted(path.iterdir())]
    return tuple((name, about.st_mtime_ns, about.st_size) for name, about in files)


def _read(folder: RunFolder) -> Entry:
    state = state_of(folder)
    config = state.config
    rows = attempt(folder.read_metrics) or []
    provenance = attempt(folder.read_provenance) or {}
    last = rows[-1] if rows else {}
    step = max(state.step, int(last.get("step") or 0))
    seconds = provenance.get("seconds") or rounded(last.get("seconds")) or 0.0
    entry = {
        "name": folder.path.name.rpartition("-")[0],
        "state": state.kind,
        "note": state.note,
        "step": step,
        "steps": state.steps,
        "start": inside(config, "stage", "start", "fingerprint"),
        "seconds": seconds,
        "left": _left(state.kind, step, state.steps, seconds),
        "arms": [str(arm) for arm in config.get("asked_by") or []],
        "architecture": inside(config, "config", "architecture", "name"),
        "seed": inside(config, "config", "seed"),
        "accuracy": _accuracy(folder) if state.kind == FINISHED else {},
        "commit": provenance.get("commit"),
        "dirty": provenance.get("dirty"),
        "hardware": _one_line(provenance.get("hardware")),
        "versions": _one_line(provenance.get("versions")),
        "curves": attempt(partial(curves, rows)) or {},
        "samples": attempt(lambda: [marked(sample) for sample in folder.read_samples()]) or [],
    }
    return finite(entry)


def _left(kind: str, step: int, steps: int | None, seconds: float) -> float | None:
    """Return the seconds that a running stage still takes at its pace so far; None before it has one."""
    if kind != RUNNING or not step or not steps:
        return None
    return round(seconds / step * max(0, steps - step), 1)


def _accuracy(folder: RunFolder) -> dict[str, float]:
    tables = inside(attempt(partial(folder.read_evaluation, SCORE)), "metrics")
    if not isinstance(tables, Mapping):
        return {}
    values = {table: inside(metrics, "token_accuracy") for table, metrics in tables.items()}
    return {table: value for table, value in values.items() if isinstance(value, int | float)}


def _one_line(values: Any) -> str:
    return "; ".join(f"{key} {value}" for key, value in values.items()) if isinstance(values, Mapping) else ""


def _name_starts(entries: dict[str, Entry]) -> None:
    """Put the name of the run folder in place of the fingerprint of the stage that a stage starts from."""
    names = {name.rpartition("-")[2]: name for name in entries}
    for entry in entries.values():
        entry["start"] = names.get(str(entry["start"]))


def add_waiting(entries: dict[str, Entry], chains: Sequence[tuple[Mapping[str, Any], Sequence[str]]]) -> None:
    """Add the stages of sweeps that have no run folder yet; `chains`: choices and stages of each point, oldest first.

    A waiting stage takes as long as the finished stages of its name and architecture took on average; `left` is None
    where there are none.
    """
    for choices, stages in chains:
        before = None
        for name in stages:
            entry = entries.setdefault(name, _waiting(name, before, choices))
            arm = str(choices.get("arm"))
            if entry["state"] == WAITING and arm not in entry["arms"]:
                entry["arms"].append(arm)
            before = name
    for entry in entries.values():
        if entry["state"] == WAITING:
            alike = [
                other["seconds"]
                for other in entries.values()
                if other["state"] == FINISHED and _kind(other) == _kind(entry) and other["seconds"]
            ]
            entry["left"] = round(sum(alike) / len(alike), 1) if alike else None


def totals(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Return how many stages are in each state, the seconds left, and how many stages have no estimate.

    The time left assumes that as many stages go on side by side as are running now.
    """
    counts: dict[str, int] = {}
    for entry in entries.values():
        counts[entry["state"]] = counts.get(entry["state"], 0) + 1
    open_ones = [entry for entry in entries.values() if entry["state"] in (RUNNING, WAITING)]
    known = [entry["left"] for entry in open_ones if entry["left"] is not None]
    running = counts.get(RUNNING, 0)
    left = max(sum(known) / running, *known) if running and known else None
    return {"counts": counts, "left": left, "unknown": len(open_ones) - len(known), "failed": counts.get(FAILED, 0)}


def _waiting(name: str, before: str | None, choices: Mapping[str, Any]) -> Entry:
    return {
        **{"name": name.rpartition("-")[0], "state": WAITING, "note": "", "step": 0, "steps": None, "start": before},
        **{"seconds": 0.0, "left": None, "arms": [], "accuracy": {}, "commit": None, "dirty": None},
        **{key: choices.get(key) for key in ("architecture", "seed")},
        **{"hardware": "", "versions": "", "curves": {}, "samples": []},
    }


def _kind(entry: Entry) -> tuple[Any, Any]:
    return entry["name"], entry["architecture"]

"""Remove what `gc` lists, after a second look: a process may have started to use it in the meantime."""

import shutil
from pathlib import Path

from memlab.runs.needed import unused_texts
from memlab.runs.state import STALE, state_of
from memlab.storage.lock import Lock
from memlab.storage.run_folder import RunFolder
from memlab.storage.wandb_folder import id_of, remove_offline_runs


def remove(path: Path, runs_dir: Path) -> bool:
    """Remove a file or a folder of a runs folder; return whether it was removed.

    Kept are a run folder that a process works on by now, and a text that a run has named or touched since.
    """
    if _is_run(path):
        return _remove_run(path)
    if path.parent == runs_dir / "data" and not path.name.startswith(".") and path not in unused_texts(runs_dir):
        return False
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return True


def _remove_run(path: Path) -> bool:
    """Remove a run folder and its offline run of wandb, under its lock: no process begins to work on it meanwhile."""
    folder, dashboard = _run(path), id_of(path)
    lock = Lock(folder.lock)
    held = lock.take()
    try:
        if not held and state_of(folder).kind != STALE:
            return False
        shutil.rmtree(path)
        remove_offline_runs(path.parent.parent, dashboard)
        return True
    finally:
        lock.release()


def _is_run(path: Path) -> bool:
    return path.parent.name == "stages" and path.is_dir() and not path.name.startswith(".")


def _run(path: Path) -> RunFolder:
    stage, _, fingerprint = path.name.rpartition("-")
    return RunFolder(path.parent.parent, stage, fingerprint)

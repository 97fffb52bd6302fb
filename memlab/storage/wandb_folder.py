"""The wandb runs of a runs folder: all in one folder, each under an id that its stage or report keeps.

runs/wandb/offline-run-<time>-<id>/    an offline run: `wandb leet runs/wandb` shows all, `wandb sync` takes each
"""

import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memlab.storage.files import read_json, write_json

STEP = "x/step"
AXES = {"step": STEP, "tokens": "x/tokens", "seconds": "x/seconds"}  # row of metrics.jsonl: metric of wandb
FOLDER = "wandb"
ID_FILE = "wandb.json"
LONGEST_ID = 55  # of the part that people read; wandb takes ids of 64
_OFFLINE = re.compile(r"offline-run-\d{8}_\d{6}-(.+)")


def kept_id(folder: Path, name: str) -> str:
    """Return the id of the run that belongs to `folder`, a stage's or a report's; if it has none, one made of `name`.

    wandb's terminal dashboard lists runs by ids, so they begin with what tells runs apart.
    """
    known = id_of(folder)
    if known is None:
        readable = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:LONGEST_ID]
        known = f"{readable}-{secrets.token_hex(4)}"
        write_json(folder / ID_FILE, {"id": known})
    return known


def id_of(folder: Path) -> str | None:
    """Return the id of the run that belongs to `folder`; None if it has none, or its file is damaged."""
    try:
        content: Any = read_json(folder / ID_FILE)
        return str(content["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def offline_runs(place: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folders of the offline runs in `place`/wandb, each with its run's id."""
    for path in sorted((place / FOLDER).glob("offline-run-*")):
        if name := _OFFLINE.fullmatch(path.name):
            yield path, name[1]


def remove_offline_runs(place: Path, run_id: str | None) -> None:
    """Remove the offline runs of an id from `place`/wandb; None: there is no id."""
    for path, name in list(offline_runs(place)):
        if name == run_id:
            shutil.rmtree(path, ignore_errors=True)


def strangers(runs_dir: Path) -> Iterator[Path]:
    """Yield the offline runs in the runs folder that belong to no stage and to no report."""
    folders = (*runs_dir.glob(f"stages/*/{ID_FILE}"), *runs_dir.glob(f"reports/*/*/{ID_FILE}"))
    known = {id_of(path.parent) for path in folders}
    for path, run_id in offline_runs(runs_dir):
        if run_id not in known:
            yield path

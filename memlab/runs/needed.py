"""Which run folders the sweeps of a runs folder still need, and what else lies there without use."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from memlab.config.compose import compose_sweep
from memlab.config.measured import points_of
from memlab.config.plan import plan_all
from memlab.errors import UserError
from memlab.report.of_sweep import COMMAND_FILE, POINTS_FILE, read_points
from memlab.runs.state import attempt, config_of, inside, run_folders
from memlab.storage.files import read_json
from memlab.storage.run_folder import RunFolder
from memlab.storage.wandb_folder import strangers

OLD = 24 * 3600.0  # seconds after which no process uses a temporary file or an unnamed text any more


def needed_folders(runs_dir: Path) -> tuple[set[str], list[Path]]:
    """Return the names of the run folders that some experiment's sweep needs, as configs and code are now.

    A sweep that cannot be composed any more, or whose text is not at hand, needs what it needed when it was run. The
    second value holds the report folders of sweeps whose files cannot be read: what those need is unknown.
    """
    needed: set[str] = set()
    unknown: list[Path] = []
    files = [path for name in (COMMAND_FILE, POINTS_FILE) for path in (runs_dir / "reports").glob(f"*/*/{name}")]
    for folder in sorted({path.parent for path in files}):
        found = _planned(folder)
        if found is None:
            found = _written(folder, runs_dir)
        if found is None:
            unknown.append(folder)
        else:
            needed |= found
    return needed, unknown


def leftovers(runs_dir: Path) -> Iterator[Path]:
    """Yield what killed processes left, cached memories that nothing was added to for a day, and unused texts.

    Also offline runs of wandb, a day old, of stages and reports that are gone.
    """
    for pattern in ("stages/*/.*", "stages/*/checkpoints/.*", "reports/*/*/.*", "data/.*", "embeddings/*"):
        for path in runs_dir.glob(pattern):
            if not path.name.endswith(".lock") and _age(path) > OLD:
                yield path
    yield from (path for path in strangers(runs_dir) if _age(path) > OLD)
    yield from unused_texts(runs_dir)


def unused_texts(runs_dir: Path) -> Iterator[Path]:
    """Yield the folders of prepared texts that no run was trained or evaluated on and nobody touched for a day.

    A run that prepares its text names it in a config.yaml only afterwards: a young text may be about to be used.
    """
    used = {text for folder in run_folders(runs_dir) for text in _texts(folder)}
    for path in (runs_dir / "data").glob("*"):
        if path.is_dir() and not path.name.startswith(".") and path.name not in used and _age(path) > OLD:
            yield path


def _planned(folder: Path) -> set[str] | None:
    """Return the names of the run folders that a sweep's command needs now; None if that cannot be told."""
    overrides = attempt(lambda: read_json(folder / COMMAND_FILE))
    if not isinstance(overrides, list):
        return None
    try:
        configs = compose_sweep([str(override) for override in overrides]).configs
        return {Path(stage).name for point in points_of(plan_all(configs)) for stage in point["stages"]}
    except (UserError, OSError):
        return None


def _written(folder: Path, runs_dir: Path) -> set[str] | None:
    """Return the names of the run folders that a sweep needed when it was run; None if its file cannot be read."""
    points = read_points(folder, runs_dir)
    if points is None:
        return None
    return {path.name for point in points for path in (Path(point["folder"]), *map(Path, point["stages"]))}


def _texts(folder: RunFolder) -> Iterator[Any]:
    """Yield the names of the prepared texts that a run was trained and evaluated on."""
    yield inside(config_of(folder), "stage", "data", "hash")
    for file in folder.evaluation_files():
        yield inside(attempt(partial(folder.read_evaluation, file)), "settings", "data")


def _age(path: Path) -> float:
    """Return the seconds since anything directly in `path` was written; 0 if it is gone."""
    try:
        newest = max(entry.stat().st_mtime for entry in (path, *(path.iterdir() if path.is_dir() else ())))
    except OSError:
        return 0.0
    return time.time() - newest

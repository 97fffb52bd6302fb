"""Which run folders the sweeps made in a runs folder still need, and what else lies there for nothing."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan
from memlab.errors import UserError
from memlab.runs.state import read_config, run_folders
from memlab.storage.files import read_json
from memlab.storage.run_folder import RunFolder
from memlab.sweep import COMMAND, POINTS

OLD = 24 * 3600.0  # seconds after which a temporary file is nobody's any more


def needed_folders(runs_dir: Path) -> set[str]:
    """Names of the run folders that some experiment's sweep needs, as configs and code are now.

    A sweep that cannot be composed any more, or whose text is not at hand, needs what it needed when it was run.
    """
    needed: set[str] = set()
    for command in (runs_dir / "reports").glob(f"*/*/{COMMAND}"):
        try:
            sweep = compose_sweep([*read_json(command), f"runs_dir={runs_dir}"])
            needed |= {job.folder.path.name for config in sweep.configs for job in plan(config)}
        except (UserError, OSError):
            needed |= _written(command.with_name(POINTS))
    for points in (runs_dir / "reports").glob(f"*/*/{POINTS}"):
        if not points.with_name(COMMAND).is_file():
            needed |= _written(points)
    return needed


def leftovers(runs_dir: Path) -> Iterator[Path]:
    """What killed processes left, cached embeddings that nothing was added to for a day, and texts of no run."""
    for pattern in ("stages/*/.*", "stages/*/checkpoints/.*", "reports/*/*/.*", "data/.*", "embeddings/*"):
        for path in runs_dir.glob(pattern):
            if path.name != ".lock" and not path.name.endswith(".lock") and time.time() - path.stat().st_mtime > OLD:
                yield path
    used = {text for folder in run_folders(runs_dir) for text in _texts(folder)}
    for path in (runs_dir / "data").glob("*"):
        if path.is_dir() and not path.name.startswith(".") and path.name not in used:
            yield path


def _texts(folder: RunFolder) -> Iterator[str | None]:
    """Names of the corpora that a run was trained and evaluated on."""
    yield read_config(folder).get("stage", {}).get("data", {}).get("hash")
    for path in folder.path.glob("evaluation*.json"):
        yield (folder.evaluation_settings(path.name) or {}).get("data")


def _written(points: Path) -> set[str]:
    try:
        return {name for point in read_json(points) for name in (point["folder"], *point["stages"])}
    except (OSError, KeyError, TypeError, json.JSONDecodeError):
        return set()

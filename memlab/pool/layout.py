"""How a sweep fills the machine: so many workers with so many threads each."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from memlab.config.stage import Stage, digest
from memlab.storage.files import read_json, write_json


@dataclass(frozen=True)
class Layout:
    """`workers` processes with `threads` threads each."""

    workers: int
    threads: int


def given_threads(settings: dict[str, Any]) -> int | None:
    """Return the threads per process that the user has chosen: trainer.threads, or else OMP_NUM_THREADS."""
    if settings["threads"] is not None:
        return int(settings["threads"])
    number = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(number) if number.isdecimal() and int(number) else None


def candidates(cores: int, points: int, parallel: int | None, threads: int | None) -> list[Layout]:
    """Return the layouts to choose from for so many points; the first one has the most workers.

    A single one is left where the user has chosen the workers (`parallel`) or the `threads`.
    """
    if parallel is not None:
        return [Layout(parallel, threads or max(1, cores // parallel))]
    if threads is not None:
        return [Layout(max(1, min(points, cores // threads)), threads)]
    powers = [2**n for n in range(cores.bit_length()) if 2**n <= cores]
    return [Layout(min(points, cores // number), number) for number in powers]


def fastest(
    layouts: Sequence[Layout], stage: Stage, notes: Path, where: Any, measure: Callable[[Layout, Stage], float]
) -> Layout:
    """Return the layout with the most steps per second, all workers together, of a stage like `stage`.

    measure: layout, stage -> steps per second. What was found is noted in the file `notes`, for this kind of stage on
    this machine (`where`), so that the same command later has the same threads, and with them the same weights.
    """
    if len(layouts) == 1:
        return layouts[0]
    alike = replace(stage, name="", start=None, training={**stage.training, "seed": 0, "steps": 0}, place=0)
    key = digest([asdict(alike), where, [asdict(layout) for layout in layouts]])
    known = _read(notes)
    if key not in known:
        speeds = [measure(layout, stage) for layout in layouts]
        known[key] = {"layout": asdict(layouts[speeds.index(max(speeds))]), "steps_per_second": speeds}
        write_json(notes, _read(notes) | {key: known[key]})
    return Layout(**known[key]["layout"])


def _read(notes: Path) -> dict[str, Any]:
    """Return what was noted; nothing if the file is not there or damaged."""
    try:
        content = read_json(notes)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

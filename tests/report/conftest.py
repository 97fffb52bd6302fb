"""Run folders with made-up numbers, written by RunFolder: a report needs files, not training."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memlab.config import paths
from memlab.report.collect import Point
from memlab.storage.files import write_json
from memlab.storage.run_folder import RunFolder

WINDOWS, SCORED = 64, 15
CE_0 = 6.4
MakePoint = Callable[..., Point]

ENCODERS = ("autoencoder", "causal")
CHAINS = {
    "no_memory": ["main"],
    "trainable": ["main"],
    "causal_direct_copy": ["causal", "main"],
    "memory_direct_copy": ["main", "main"],
    "direct_copy": ["autoencoder", "main"],
    "direct_copy_fresh": ["autoencoder", "main"],
    "headed_decoder": ["autoencoder", "main"],
    "blank_copy": ["autoencoder", "main"],
    "blank_copy_longer": ["autoencoder", "main"],
    "curriculum": ["autoencoder", "blank", "copy"],
    "abrupt_curriculum": ["autoencoder", "blank", "copy"],
    "causal_curriculum": ["causal", "blank", "copy"],
    "curriculum_no_memory": ["autoencoder", "blank", "copy"],
}
SCORE, GREEDY, CAPACITY = (f"evaluation-{name}.json" for name in ("score", "greedy", "capacity"))


def settings(measure: str, *, data: str = "text0", window: int = 32, objective: str = "Copy") -> dict[str, Any]:
    """What an evaluation file says that it was made with."""
    targets = {"measure": f"memlab.measures.{measure}", "objective": f"memlab.objectives.{objective}"}
    return {**{key: {"_target_": name} for key, name in targets.items()}, "data": data, "window": window}


@pytest.fixture
def make_point(tmp_path: Path) -> MakePoint:
    """make_point(arm, accuracy, seed=0, architecture="mixer") writes the chain's run folders and returns the point.

    tables: of the objective; each table's accuracy is `accuracy` less the one before it by 0.2. More keywords are
    those of `settings`.
    """

    def make(
        arm: str,
        accuracy: float,
        seed: int = 0,
        architecture: str = "mixer",
        tables: Sequence[str] = ("copy",),
        **about: Any,
    ) -> Point:
        stages = []
        for stage in CHAINS[arm]:
            shared = stage in ENCODERS
            run = RunFolder(tmp_path, stage, f"{architecture}_{'' if shared else arm}_{seed}")
            write_stage(run, accuracy, seed, tables, **about)
            stages.append(run.path)
        choices = {"architecture": architecture, "arm": arm, "encoder": "any", "curriculum": "any", "seed": seed}
        asked = ((SCORE, "Score"), (GREEDY, "Greedy"), (CAPACITY, "Capacity"))
        return {
            "choices": choices,
            "folder": stages[-1],
            "stages": stages,
            "encoder_stages": int(CHAINS[arm][0] in ENCODERS),
            "evaluations": [
                {"file": file, "prefix": "", "nested": False, "settings": settings(name, **about)}
                for file, name in asked
            ],
        }

    return make


@pytest.fixture
def experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of copy_curriculum alone, without results: tests may write into it."""
    source = paths.experiments() / "copy_curriculum"
    folder = tmp_path / "experiments"
    shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("results"))
    monkeypatch.setattr(paths, "experiments", lambda: folder)
    return folder


def write_stage(run: RunFolder, accuracy: float, seed: int, tables: Sequence[str] = ("copy",), **about: Any) -> None:
    """Write what a finished stage leaves, as far as reports read it."""
    found = {name: _table(accuracy - 0.2 * place, seed) for place, name in enumerate(tables)}
    metrics, windows = ({name: pair[i] for name, pair in found.items()} for i in (0, 1))
    run.write_evaluation(SCORE, settings("Score", **about), {"metrics": metrics, "windows": windows})
    free = {tables[-1]: {"free_running_token_accuracy": accuracy / 2}}
    run.write_evaluation(GREEDY, settings("Greedy", **about), {"metrics": free, "windows": {}})
    stored = {name: {"capacity/memory_floats": 128} for name in tables}
    run.write_evaluation(CAPACITY, settings("Capacity", **about), {"metrics": stored, "windows": {}})
    origin = {
        "commit": "abc123",
        "dirty": False,
        "hardware": {"cpu": "made up", "cores": 2},
        "versions": {"python": "3.12.1", "torch": "2.13.0"},
    }
    write_json(run.provenance, {**origin, "steps": 300, "tokens": 3_000, "seconds": 30.0})
    run.truncate_metrics(0)
    run.append_metrics({"step": 10, "tokens": 100, "seconds": 1.0, "train/loss": 3.0})
    for step in range(50, 301, 50):
        row = {"step": step, "tokens": 10 * step, "seconds": step / 10}
        for place, name in enumerate(tables):
            key = f"val/{name}/token_accuracy" if len(tables) > 1 else "val/token_accuracy"
            row[key] = (accuracy - 0.2 * place) * (1 - 2 ** (-step / 60))
        run.append_metrics(row)
    run.weights.write_bytes(b"weights")
    run.finish()


def finish(point: Point) -> None:
    """Write run folders for a point as it was planned: token accuracy 0.4 in the first evaluation asked for."""
    for folder in point["stages"]:
        stage, _, fingerprint = Path(folder).name.rpartition("-")
        run = RunFolder(Path(folder).parent.parent, stage, fingerprint)
        write_stage(run, 0.4, 0)
        for path in run.path.glob("evaluation*.json"):
            path.unlink()
    metrics, windows = _table(0.4, 0)
    for place, asked in enumerate(point["evaluations"]):
        found = {"metrics": {"copy": metrics}, "windows": {"copy": windows}} if place == 0 else {}
        run.write_evaluation(asked["file"], asked["settings"], {"metrics": {}, "windows": {}, **found})


def _table(accuracy: float, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and window sums of one table."""
    # The same windows are hard for every arm: that is what pairing is for.
    hardness = np.random.default_rng(seed).normal(0, 0.05, WINDOWS)
    share = np.clip(accuracy + hardness - hardness.mean(), 0, 1)
    loss = (1 - share) * 4 * SCORED
    cross_entropy = loss.sum() / (WINDOWS * SCORED)
    metrics = {
        "token_accuracy": share.mean(),
        "cross_entropy": cross_entropy,
        "entropy_ratio": 1 - cross_entropy / CE_0,
    }
    return metrics, {"correct": (share * SCORED).tolist(), "count": [SCORED] * WINDOWS, "loss": loss.tolist()}

"""Made-up run folders: a report needs files, not training."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from memlab.config import paths
from memlab.report.collect import Point

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


@pytest.fixture
def make_point(tmp_path: Path) -> MakePoint:
    """make_point(arm, accuracy, seed=0, architecture="mixer") writes the chain's run folders and returns the point.

    tables: an objective with several tables; each table's accuracy is `accuracy` less the one before it by 0.2.
    """

    def make(
        arm: str, accuracy: float, seed: int = 0, architecture: str = "mixer", tables: Sequence[str] = ()
    ) -> Point:
        stages = []
        for stage in CHAINS[arm]:
            shared = stage in ENCODERS
            folder = tmp_path / "stages" / f"{stage}-{architecture}_{'' if shared else arm}_{seed}"
            _write_stage(folder, accuracy, seed, tables)
            stages.append(folder)
        choices = {"architecture": architecture, "arm": arm, "encoder": "any", "curriculum": "any", "seed": seed}
        return {
            "choices": choices,
            "folder": stages[-1],
            "stages": stages,
            "encoder_stages": int(CHAINS[arm][0] in ENCODERS),
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


def _write_stage(folder: Path, accuracy: float, seed: int, tables: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: _evaluation(accuracy - 0.2 * place, seed) for place, name in enumerate(tables or ("",))}
    metrics, windows = ({name: pair[i] for name, pair in found.items()} for i in (0, 1))
    if not tables:
        metrics, windows = metrics[""], windows[""]
    _write(folder / "evaluation.json", {"settings": {}, "metrics": metrics, "windows": windows})
    provenance = {"commit": "abc123", "dirty": False, "hardware": {"cpu": "made up", "cores": 2}}
    _write(folder / "provenance.json", {**provenance, "steps": 300, "tokens": 3_000, "seconds": 30.0})
    rows: list[dict[str, float]] = [{"step": 10, "tokens": 100, "seconds": 1.0, "train/loss": 3.0}]
    for step in range(50, 301, 50):
        row = {"step": step, "tokens": 10 * step, "seconds": step / 10}
        for place, name in enumerate(tables or ("",)):
            key = "/".join(part for part in ("val", name, "token_accuracy") if part)
            row[key] = (accuracy - 0.2 * place) * (1 - 2 ** (-step / 60))
        rows.append(row)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _write(folder / "finished.json", {})


def _evaluation(accuracy: float, seed: int) -> tuple[dict[str, object], dict[str, object]]:
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
        "capacity": {"memory_floats": 128},
    }
    return metrics, {"correct": (share * SCORED).tolist(), "count": [SCORED] * WINDOWS, "loss": loss.tolist()}


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content))

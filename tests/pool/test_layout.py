"""How many workers, and how many threads each."""

from pathlib import Path
from typing import Any

import pytest
import torch

from memlab.config.stage import Stage
from memlab.pool.choose import visible_gpus
from memlab.pool.layout import Layout, candidates, fastest, given_threads

STAGE = Stage("copy", {"length": 4}, {}, {}, {"seed": 0, "steps": 9, "batch_size": 2}, None, False, 0)


@pytest.mark.parametrize(
    ("cores", "points", "parallel", "threads", "layouts"),
    [
        (2, 12, None, None, [(2, 1), (1, 2)]),
        (2, 1, None, None, [(1, 1), (1, 2)]),
        (1, 12, None, None, [(1, 1)]),
        (6, 12, None, None, [(6, 1), (3, 2), (1, 4)]),
        (8, 3, None, None, [(3, 1), (3, 2), (2, 4), (1, 8)]),
        (2, 12, 4, None, [(4, 1)]),
        (8, 12, 2, None, [(2, 4)]),
        (8, 12, 2, 1, [(2, 1)]),
        (8, 12, None, 2, [(4, 2)]),
        (2, 12, None, 4, [(1, 4)]),
    ],
)
def test_candidates(cores: int, points: int, parallel: int | None, threads: int | None, layouts: list[Any]) -> None:
    assert candidates(cores, points, parallel, threads) == [Layout(*one) for one in layouts]


def test_the_user_s_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert given_threads({"threads": None}) == 3 and given_threads({"threads": 2}) == 2
    for value in ("", "many", "0"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert given_threads({"threads": None}) is None


def test_the_fastest_layout_is_measured_once_per_kind_of_stage_and_machine(tmp_path: Path) -> None:
    layouts, notes, measured = [Layout(2, 1), Layout(1, 2)], tmp_path / "layouts.json", []

    def measure(layout: Layout, stage: Stage) -> float:
        measured.append(layout)
        return {1: 3.0, 2: 5.0}[layout.threads]

    def found(**changes: Any) -> Layout:
        stage = Stage(**{**STAGE.__dict__, "training": {**STAGE.training, **changes}})
        return fastest(layouts, stage, notes, {"cpu": "x"}, measure)

    assert found() == found(seed=7) == found(steps=90) == Layout(1, 2)
    assert measured == layouts
    found(batch_size=4)
    assert measured == layouts * 2
    notes.write_text("{half a fi")
    assert found() == Layout(1, 2) and len(measured) == 6
    assert fastest(layouts[:1], STAGE, tmp_path / "none.json", {}, measure) == Layout(2, 1)
    assert len(measured) == 6 and not (tmp_path / "none.json").exists()


def test_every_worker_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus({"accelerator": "gpu"}) == ["0", "1"] and visible_gpus({"accelerator": "cpu"}) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert visible_gpus({"accelerator": "gpu"}) == ["5", "7"]

from pathlib import Path

import pytest
import torch

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan, plan_all
from memlab.training.estimate import Workload, flops_per_step, seconds_per_flop
from tests.conftest import smoke


def test_operations_are_counted_as_by_hand(corpus: Path, tmp_path: Path) -> None:
    """The causal mixer at smoke scale: D = 32, N = 1, L = 8, V = 300, 16 windows; backward costs twice forward."""
    causal = plan(compose_sweep([*smoke(corpus, tmp_path), "encoder=frozen_causal"]).configs[0]).jobs[0]
    width, length, vocab = 32, 8, 300
    projections = 2 * width * width * length
    mixing = width * length * length
    mlp = 2 * width * 4 * width * length
    head = width * vocab * (length - 1)
    assert flops_per_step(causal.stage) == 16 * 2 * 3 * (projections + mixing + mlp + head)


def test_batches_and_accumulation_multiply(corpus: Path, tmp_path: Path) -> None:
    def flops(*overrides: str) -> float:
        return flops_per_step(plan(compose_sweep([*smoke(corpus, tmp_path), *overrides]).configs[0]).jobs[-1].stage)

    assert flops("trainer.batch_size=8", "trainer.accumulate=2") == flops("trainer.batch_size=16") == 2 * flops(
        "trainer.batch_size=8"
    )  # fmt: skip


def test_a_shared_stage_counts_once(corpus: Path, tmp_path: Path) -> None:
    sweep = compose_sweep([*smoke(corpus, tmp_path), "+experiment=copy_curriculum"])
    workload = Workload()
    for point in plan_all(sweep.configs):
        workload.add(point.jobs)
    assert len(workload.flops) == 16


def test_without_finished_runs_a_matrix_product_tells_the_pace() -> None:
    assert 1e-15 < seconds_per_flop([]) < 1e-8
    assert torch.get_num_threads() >= 1
    with pytest.raises(FileNotFoundError):
        seconds_per_flop([Path("/nowhere")])

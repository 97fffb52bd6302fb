import pytest
import torch

from memlab.objectives import BlankCopy
from memlab.training.module import StageModule
from tests.tiny import CHUNKS, LENGTH, VOCAB, memory_model


def module(**changes: float) -> StageModule:
    options = {"steps": 100, "seed": 0, "lr": 1.0, "warmup": 10, **changes}
    objective = BlankCopy(blank=0, delimiter=1)
    return StageModule(memory_model("mixer"), objective, torch.ones(VOCAB), chunks=CHUNKS, length=LENGTH, **options)  # type: ignore[arg-type]


def test_the_learning_rate_warms_up_and_decays_to_zero() -> None:
    rate = module().rate
    assert [rate(step) for step in (0, 4, 9)] == [pytest.approx(v) for v in (0.1, 0.5, 1.0)]
    assert rate(10) == 1 and rate(55) == pytest.approx(0.5) and rate(100) == 0


def test_a_short_stage_warms_up_for_a_tenth_of_itself() -> None:
    assert module(steps=20, warmup=500).warmup == 2
    assert module(steps=5).rate(0) == 1


def test_only_what_is_not_frozen_is_optimized() -> None:
    stage = module()
    assert stage.model.encoder is not None
    stage.model.encoder.requires_grad_(False)
    optimized = {id(p) for group in stage.configure_optimizers()["optimizer"].param_groups for p in group["params"]}
    assert optimized == {id(p) for p in stage.model.parameters() if p.requires_grad}
    assert not optimized & {id(p) for p in stage.model.encoder.parameters()}


def test_bytes_are_counted_at_scored_tokens_only() -> None:
    """Blank copy: C/2 chunks of L-1 scored tokens, each of one byte here."""
    sums = module().predict_step(torch.randint(2, VOCAB, (3, CHUNKS * LENGTH // 2)), 0)["blank_copy"]
    assert sums["bytes"].tolist() == sums["count"].tolist() == [CHUNKS // 2 * (LENGTH - 1)] * 3

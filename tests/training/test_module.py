from functools import partial

import pytest
import torch

from memlab.objectives import BlankCopy, Layout
from memlab.training import Constant, LinearDecay
from memlab.training.module import Clock, StageModule, derived_seed
from tests.tiny import CHUNKS, LENGTH, memory_model


def module(steps: int = 100) -> StageModule:
    return StageModule(
        memory_model("mixer"),
        BlankCopy(blank=0, delimiter=1),
        layout=Layout(CHUNKS, LENGTH),
        steps=steps,
        seed=0,
        place=0,
        optimizer=partial(torch.optim.AdamW, lr=1.0),
        schedule=LinearDecay(warmup=10),
        clock=Clock(),
    )


def test_the_learning_rate_warms_up_and_decays_to_zero() -> None:
    share = LinearDecay(warmup=10)
    assert [share(step, 100) for step in (0, 4, 9)] == [pytest.approx(v) for v in (0.1, 0.5, 1.0)]
    assert share(10, 100) == 1 and share(55, 100) == pytest.approx(0.5) and share(100, 100) == 0


def test_a_constant_rate_warms_up_and_stays() -> None:
    share = Constant(warmup=10)
    assert [share(step, 100) for step in (0, 4, 9, 10, 99)] == [pytest.approx(v) for v in (0.1, 0.5, 1.0, 1.0, 1.0)]


def test_a_short_stage_warms_up_for_a_tenth_of_itself() -> None:
    for schedule in (LinearDecay(warmup=500), Constant(warmup=500)):
        assert [schedule(step, 20) for step in (0, 1)] == [0.5, 1.0]
        assert schedule(0, 5) == 1


def test_the_optimizer_follows_the_schedule() -> None:
    configured = module(steps=20).configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.5, 1.0, *[(20 - step) / 18 for step in range(2, 20)]])


def test_only_what_is_not_frozen_is_optimized() -> None:
    stage = module()
    stage.model.freeze_encoder(True)
    assert stage.model.encoder is not None
    optimized = {id(p) for group in stage.configure_optimizers()["optimizer"].param_groups for p in group["params"]}
    assert optimized == {id(p) for p in stage.model.parameters() if p.requires_grad}
    assert not optimized & {id(p) for p in stage.model.encoder.parameters()}


def test_seeds_differ_however_large_the_numbers() -> None:
    numbers = [(0, 0, 1), (0, 1, 0), (1, 0, 0), (2**32, 0, 1), (2**63 - 1, 0, 1), (0, 0, 1, 0), (0, 0, 1, 1)]
    seeds = [derived_seed(*some) for some in numbers]
    assert len({*seeds}) == len(numbers) and all(0 <= seed < 2**63 for seed in seeds)
    torch.manual_seed(max(seeds))

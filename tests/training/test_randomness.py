"""Windows and random numbers depend on the seed, the stage's place in its chain and the step, on nothing else."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
from memlab.training.module import StageModule
from tests.training.chains import DROPOUT, Killed, before_batch, kill, rows


def windows_of(jobs: list[Any]) -> list[list[tuple[int, ...]]]:
    """Run a chain; return the first half-sequence of every training window, stage by stage in the order drawn."""
    drawn: list[list[tuple[int, ...]]] = []
    original = StageModule.training_step

    def step(self: Any, tokens_BT: Tensor, number: int) -> Any:
        drawn[-1] += [tuple(row[:8].tolist()) for row in tokens_BT]
        return original(self, tokens_BT, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageModule, "training_step", step)
        for job in jobs:
            drawn.append([])
            run_chain([job], Workload())
    return drawn


@pytest.mark.parametrize(
    "chosen",
    [
        ("encoder=trainable", "curriculum=blank_then_copy"),  # both read windows of 16 tokens
        ("encoder=frozen_autoencoder", "curriculum=probe"),  # and both of these single chunks
    ],
    ids=["curriculum", "probe"],
)
def test_a_stage_does_not_replay_its_predecessor(chain: Any, chosen: tuple[str, ...]) -> None:
    steps = ("scale.stages.memory.steps=6", "scale.stages.autoencoder.steps=6", "scale.stages.probe.steps=6")
    before, after = windows_of(chain(*chosen, *steps))
    assert len(before) == len(after) == 6 * 16
    same = sum(one == other for one, other in zip(before, after, strict=True))
    assert same <= len(before) // 4, f"{same} of {len(before)} windows at the same place"
    assert before[:16] != after[:16]


def test_seeds_draw_other_windows_and_the_same_seed_the_same(chain: Any, tmp_path: Path) -> None:
    runs = [("seed=0", "one"), ("seed=0", "two"), ("seed=1", "three")]
    one, two, three = (
        windows_of(chain(seed, "scale.stages.memory.steps=2", runs=tmp_path / name))[0] for seed, name in runs
    )
    assert one == two != three


def test_a_stack_with_dropout_resumes_bit_for_bit(chain: Any, tmp_path: Path) -> None:
    options = (*DROPOUT, "trainer.accumulate=2", "trainer.checkpoint_every=2", "trainer.validate_every=3")
    (unbroken,) = chain(*options, runs=tmp_path / "unbroken")
    run_chain([unbroken], Workload())
    (broken,) = chain(*options, runs=tmp_path / "broken")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        before_batch(patch, 23, kill)
        run_chain([broken], Workload())
    run_chain([broken], Workload())
    assert broken.folder.weights.read_bytes() == unbroken.folder.weights.read_bytes()
    assert rows(broken) == rows(unbroken)


def test_validating_more_often_changes_no_weight(chain: Any, tmp_path: Path) -> None:
    weights = []
    for every in (3, 7, 1000):
        (job,) = chain(*DROPOUT, f"trainer.validate_every={every}", runs=tmp_path / str(every))
        run_chain([job], Workload())
        weights.append(job.folder.weights.read_bytes())
    assert weights[0] == weights[1] == weights[2]


def test_dropout_changes_what_is_trained(chain: Any, tmp_path: Path) -> None:
    """So that the tests above have something to find."""
    (dropping,), (plain,) = chain(*DROPOUT, runs=tmp_path / "a"), chain(runs=tmp_path / "b")
    for job in (dropping, plain):
        run_chain([job], Workload())
    one, other = load_file(dropping.folder.weights), load_file(plain.folder.weights)
    assert {*one} == {*other} and any((one[name] != other[name]).any() for name in one)

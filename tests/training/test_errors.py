"""Stages that diverge, or fail."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from memlab.errors import explain
from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
from memlab.training.guard import DivergedError
from memlab.training.module import StageModule
from tests.training.chains import SHORT, rows


def test_a_loss_that_is_not_finite_stops_the_stage(chain: Any) -> None:
    (job,) = chain("optimizer.lr=1e30", "trainer.log_every=1", "trainer.checkpoint_every=1")
    with pytest.raises(
        DivergedError, match=r"the loss is not finite at step 2 \(batch 1 of seed 0, windows \d+, "
    ) as error:
        run_chain([job], Workload())
    assert explain(error.value) is not None
    assert not job.folder.finished


def spoil(monkeypatch: pytest.MonkeyPatch, at_batch: int, times: int, factor: float = math.nan) -> None:
    """Multiply the loss of a batch, the first `times` times that it is computed."""

    def step(self: Any, *arguments: Any) -> Any:
        number, outputs = self.clock.batch, original(self, *arguments)
        if number == at_batch and left:
            left.pop()
            outputs = {**outputs, **{key: outputs[key] * factor for key in ("loss", "nats")}}
        return outputs

    left = [None] * times
    original = StageModule.training_step
    monkeypatch.setattr(StageModule, "training_step", step)


def test_no_checkpoint_is_saved_of_what_diverged(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is seen ahead of the next checkpoint, even where rows are written less often."""
    (job,) = chain("trainer.log_every=20", "trainer.checkpoint_every=4")
    spoil(monkeypatch, at_batch=9, times=1)
    with pytest.raises(DivergedError, match=r"at step 10 .*last good checkpoint is \S*step-000000008\.ckpt"):
        run_chain([job], Workload())
    assert [path.stem for path in job.folder.checkpoint_files()] == ["step-000000008", "step-000000004"]


def test_a_loss_above_the_limit_is_named(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = chain("trainer.max_loss=50")
    spoil(monkeypatch, at_batch=3, times=1, factor=1e4)
    with pytest.raises(DivergedError, match=r"nats, above trainer.max_loss=50, at step 4"):
        run_chain([job], Workload())


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_limit_is_in_nats_per_token_whatever_is_accumulated(chain: Any, accumulate: int) -> None:
    """Lightning divides the loss that callbacks see by the batches of a step. Chance is ln 300 = 5.7 nats here."""
    options = ("objective=clm", "encoder=none", f"trainer.accumulate={accumulate}", "trainer.log_every=1", *SHORT)
    (job,) = chain(*options, "trainer.max_loss=4")
    with pytest.raises(DivergedError, match=r"the loss is (\S+) nats, above trainer.max_loss=4, at step 1") as error:
        run_chain([job], Workload())
    nats = re.search(r"the loss is (\S+) nats", str(error.value))
    assert nats is not None and 5 < float(nats[1]) < 7
    (job,) = chain(*options, "trainer.max_loss=8")
    run_chain([job], Workload())


def test_a_restart_goes_back_to_the_last_good_checkpoint(chain: Any, tmp_path: Path) -> None:
    (undisturbed,) = chain(runs=tmp_path / "undisturbed")
    run_chain([undisturbed], Workload())
    options = ("trainer.restarts=1", "trainer.checkpoint_every=4")
    (job,) = chain(*options, runs=tmp_path / "disturbed")
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, at_batch=9, times=1)
        run_chain([job], Workload())
    assert job.folder.weights.read_bytes() == undisturbed.folder.weights.read_bytes()
    assert rows(job) == rows(undisturbed)
    (again,) = chain(*options, runs=tmp_path / "for ever")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DivergedError):
        spoil(patch, at_batch=9, times=2)
        run_chain([again], Workload())


def test_out_of_memory_says_what_to_lower(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(*_: Any) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(StageModule, "training_step", allocate)
    with pytest.raises(RuntimeError) as error:
        run_chain(chain(), Workload())
    message = explain(error.value) or ""
    assert all(key in message for key in ("trainer.batch_size", "trainer.accumulate", "scale.width"))


def test_an_unforeseen_error_keeps_its_traceback(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ValueError that a library raises is a bug of ours, not a mistake of the user."""
    monkeypatch.setattr(StageModule, "training_step", lambda *_: json.loads("{"))
    with pytest.raises(ValueError) as error:
        run_chain(chain(), Workload())
    assert explain(error.value) is None

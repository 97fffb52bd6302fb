"""What tests of chains have in common."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor
from torch.nn import functional as F

from memlab.config.stage import Job
from memlab.models import GeluMLP
from memlab.training.module import StageModule

CURRICULUM = ("encoder=frozen_autoencoder", "curriculum=blank_then_copy", "trainer.log_every=2")
SHORT = ("scale.stages.memory.steps=2", "trainer.evaluate_windows=2", "trainer.free_running_windows=2")
_MLP = "mlp={_target_: tests.training.chains.DroppingMLP, _partial_: true}"
DROPOUT = tuple(f"+architecture.{part}.stack.{_MLP}" for part in ("encoder", "decoder"))  # stacks that drop features


class DroppingMLP(GeluMLP):
    """A channel MLP of a user's own, with dropout."""

    def forward(self, x_RTD: Tensor) -> Tensor:
        return F.dropout(super().forward(x_RTD), 0.3, self.training)


def rows(job: Job) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl, without what a clock says."""
    clock = ("seconds", "tokens_per_second")
    return [{key: value for key, value in row.items() if key not in clock} for row in job.folder.read_metrics()]


def before_batch(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], Any]) -> None:
    """Act before the training step of a batch, counted from 0."""

    def step(self: Any, *arguments: Any) -> Any:
        if self.clock.batch == number:
            act()
        return original(self, *arguments)

    original = StageModule.training_step
    monkeypatch.setattr(StageModule, "training_step", step)


class Killed(BaseException):
    """Not an Exception: nothing on the way may handle it, as nothing handles kill -9."""


def kill() -> None:
    raise Killed

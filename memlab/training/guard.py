"""Stop a stage whose loss becomes NaN or exceeds a limit, before a bad checkpoint is saved."""

import math
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from memlab.data.module import TrainBatches
from memlab.errors import UserError
from memlab.processes import ranks
from memlab.storage.run_folder import RunFolder
from memlab.training.module import Clock

_NEVER = 2**62  # number of a batch that never comes


class DivergedError(UserError):
    """The loss is not finite, or above the limit."""


class StopAtDivergence(Callback):
    """Notes on the device the first batch whose loss is not finite or above `limit` nats, and raises DivergedError.

    The device is asked every `every` steps and before each checkpoint: asking at each step would cost speed.
    """

    def __init__(self, folder: RunFolder, batches: TrainBatches, clock: Clock, every: int, limit: float) -> None:
        self.folder = folder
        self.batches = batches
        self.clock = clock
        self._step = -1
        self.every = every
        self.limit = limit
        self._first = torch.tensor(_NEVER)  # number of the batch
        self._loss = torch.tensor(0.0)  # its loss

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        loss = outputs["nats"]
        self._first, self._loss = self._first.to(loss.device), self._loss.to(loss.device)
        new = ~(loss.abs() <= self.limit) & (self._first == _NEVER)  # a comparison with NaN is false
        self._first = torch.where(new, self.clock.batch - 1, self._first)
        self._loss = torch.where(new, loss, self._loss)
        step = trainer.global_step
        if step != self._step and step % self.every == 0 and step > 0:  # once per step, not per accumulated batch
            self.check(trainer, module)
        self._step = step

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.check(trainer, module)

    def check(self, trainer: Trainer, module: LightningModule) -> None:
        """Raise DivergedError, on all ranks, if a loss up to now or a trained weight is not finite or too large."""
        first = -ranks.largest(-int(self._first))
        if first != _NEVER:
            own = self._loss.item() if int(self._first) == first else 0.0
            finite = not ranks.largest(int(not math.isfinite(own)))
            nats = ranks.largest(own if finite else 0.0)
            what = f"{nats:.4g} nats, above trainer.max_loss={self.limit:g}," if finite else "not finite"
            raise DivergedError(self._message(trainer, first, f"the loss is {what}"))
        trained = [p.detach() for p in module.parameters() if p.requires_grad]
        bad = ~torch.stack([p.isfinite().all() for p in trained]).all()
        if ranks.largest(int(bad)):  # a rank may hold only a part of the weights
            raise DivergedError(self._message(trainer, self.clock.batch - 1, "a weight is not finite"))

    def _message(self, trainer: Trainer, batch: int, what: str) -> str:
        chosen = self.batches.chosen(batch)
        places = ", ".join(map(str, chosen[:8])) + (" ..." if len(chosen) > 8 else "")
        step = batch // trainer.accumulate_grad_batches + 1
        last = next(iter(self.folder.checkpoint_files()), "none: the stage starts again")
        return (
            f"{self.folder.path.name}: {what} at step {step} (batch {batch} of seed {self.batches.seed}, windows"
            f" {places} of the training text); the last good checkpoint is {last}. Lower optimizer.lr, raise"
            " schedule.warmup or set trainer.precision=32-true; trainer.restarts=1 goes back to the checkpoint once"
            " by itself, which helps against faults of the machine"
        )

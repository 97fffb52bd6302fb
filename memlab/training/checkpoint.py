"""Checkpoints with a SHA-256 trailer so that damage is detected; the last two are kept; loading never runs code."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from memlab.errors import UserError
from memlab.processes import ranks
from memlab.processes.signals import Stopped, signals
from memlab.progress import console
from memlab.storage.files import is_whole, sealed_reader, sealed_writer
from memlab.storage.lock import Lock, LockLostError
from memlab.storage.run_folder import RunFolder
from memlab.training.guard import StopAtDivergence
from memlab.training.module import Clock

KEPT = 2
_LOST = 10_000  # beyond any signal's number, and RESTART


class SealedCheckpointIO(CheckpointIO):
    """Checkpoints by torch.save with a SHA-256 trailer; saved and loaded as a stream, without a copy in memory.

    Loading uses weights_only=True, so that no code of a checkpoint is run.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        with sealed_writer(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Raise UserError for a damaged file, FileNotFoundError for none."""
        if not is_whole(Path(path)):
            raise UserError(f"{path} is not a whole checkpoint: delete it and run the command again")
        with sealed_reader(Path(path)) as file:
            state: dict[str, Any] = torch.load(file, map_location or "cpu", weights_only=True)
        return state

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        Path(path).unlink(missing_ok=True)


def newest_checkpoint(folder: RunFolder) -> tuple[Path, int] | None:
    """Return the newest whole checkpoint and its step; None if there is none. A damaged one is reported and deleted."""
    folder.warn_of_strangers()
    for path in folder.checkpoint_files():
        with suppress(FileNotFoundError):  # of a process that lost its lock and has not noticed yet
            if is_whole(path):
                return path, folder.step_of(path)
            console.print(f"{path} is damaged: falling back to the checkpoint before", markup=False)
            path.unlink()
    return None


class Checkpoints(Callback):
    """Saves every `every` steps, and when a signal ends the command; always at the start of the next step.

    At the end of a batch Lightning has not run that step's validation yet, and a resumed run would leave it out.
    """

    def __init__(self, folder: RunFolder, every: int, guard: StopAtDivergence, clock: Clock, lock: Lock | None) -> None:
        self.folder = folder
        self.every = every
        self.guard = guard
        self.clock = clock
        self.lock = lock
        self.saved = 0

    def on_train_start(self, trainer: Trainer, _: LightningModule) -> None:
        self.saved = trainer.global_step
        signals.install()  # Lightning has put its own handlers in front by now

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Tensor, batch_idx: int) -> None:
        if self.clock.batch % trainer.accumulate_grad_batches:
            return  # in the middle of a step
        lost = self.lock is not None and self.lock.lost
        event = ranks.largest(_LOST if lost else signals.pending or 0)
        if event == _LOST:
            raise LockLostError(f"another process has taken over {self.folder.path.name}")
        step = trainer.global_step
        if step > self.saved and (step % self.every == 0 or event):
            self._save(trainer, module, step)
        if event:
            console.print(f"{self.folder.path.name}: stops at step {step:,}, which is saved", markup=False)
            raise Stopped(event)

    def _save(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        self.guard.check(trainer, module)
        trainer.save_checkpoint(self.folder.checkpoints / f"step-{step:09}.ckpt")
        self.saved = step
        if ranks.is_first():
            for old in self.folder.checkpoint_files()[KEPT:]:
                trainer.strategy.remove_checkpoint(old)

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # The batch that is about to start counts as ready. Lightning takes that back for the epoch's counter when it
        # resumes and not for the total, by which it times validation.
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counter in (progress["total"], progress["current"]):
            counter["ready"] = counter["completed"]

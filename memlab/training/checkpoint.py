"""Checkpoints that are whole or known not to be: a SHA-256 behind every file, the last two kept, nothing unpickled."""

import hashlib
import io
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
from memlab.storage.files import write_atomic
from memlab.storage.lock import Lock, LockLostError
from memlab.storage.run_folder import RunFolder
from memlab.training.guard import StopAtDivergence
from memlab.training.module import StageModule

KEPT = 2
_LOST = 10_000  # beyond any signal's number
_DIGEST = hashlib.sha256().digest_size


class SealedCheckpointIO(CheckpointIO):
    """torch.save, then the SHA-256 of it; written beside and renamed. Loads with weights_only=True: no code is run."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        content = buffer.getvalue()
        write_atomic(Path(path), content + hashlib.sha256(content).digest())

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        content = Path(path).read_bytes()
        if not is_whole(content):
            raise UserError(f"{path} is not a whole checkpoint: delete it and run the command again")
        state: dict[str, Any] = torch.load(io.BytesIO(content[:-_DIGEST]), map_location or "cpu", weights_only=True)
        return state

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        Path(path).unlink(missing_ok=True)


def is_whole(content: bytes) -> bool:
    """Whether the seal fits."""
    return len(content) > _DIGEST and hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]


def newest_checkpoint(folder: RunFolder) -> tuple[Path, int] | None:
    """The newest whole checkpoint and its step. A corrupt one is said to be so and deleted; None: start anew."""
    for path in folder.checkpoint_files():
        with suppress(FileNotFoundError):  # of a process that was cut off and goes on all the same
            if is_whole(path.read_bytes()):
                return path, int(path.stem.removeprefix("step-"))
            console.print(f"{path} is corrupt or cut off: falling back to the one before", markup=False)
            path.unlink()
    return None


class Checkpoints(Callback):
    """Saves every `every` steps and when a signal ends the command, at the start of the next step.

    Only then has Lightning run that step's validation and have all callbacks seen it: saved at the end of a batch, a
    resumed run would leave that validation out.
    """

    def __init__(self, folder: RunFolder, every: int, guard: StopAtDivergence, lock: Lock | None) -> None:
        self.folder = folder
        self.every = every
        self.guard = guard
        self.lock = lock
        self.saved = 0

    def on_train_start(self, trainer: Trainer, _: LightningModule) -> None:
        self.saved = trainer.global_step
        signals.install()  # Lightning has its own in front by now

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Tensor, batch_idx: int) -> None:
        assert isinstance(module, StageModule)
        if module.batch_number % trainer.accumulate_grad_batches:
            return  # in the midst of a step
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

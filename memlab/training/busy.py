"""React when other processes begin to need the cores that a stage trains on."""

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from memlab.processes import ranks
from memlab.processes.machine import BUSY, Others
from memlab.processes.signals import RESTART, signals

EVERY = 5.0  # seconds between two looks
SLOWER = 1.7  # times the shortest step so far


class MindOthers(Callback):
    """Restarts the command from a checkpoint when others use the cores and steps have become much slower.

    The threads of a matrix product spin while they wait for each other. Where another process has one of the cores,
    they spin for most of the time. The restarted command's threads wait asleep: slower alone, much faster beside
    others, and with the same results. `signals.restartable` says whether the command can be restarted.
    """

    def __init__(self) -> None:
        self._others = Others()
        self._since = 0.0
        self._step = 0
        self._shortest = float("inf")

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._others.cores()
        self._since, self._step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        now, step = time.monotonic(), trainer.global_step
        if now - self._since < EVERY or step == self._step:
            return
        seconds = (now - self._since) / (step - self._step)
        self._since, self._step = now, step
        self._shortest = min(self._shortest, seconds)
        busy = self._others.cores() > BUSY and seconds > SLOWER * self._shortest
        alone = ranks.world() == 1 and torch.get_num_threads() > 1
        if busy and alone and signals.restartable and signals.pending is None:
            signals.pending = RESTART

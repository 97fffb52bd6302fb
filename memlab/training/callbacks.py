"""Write metrics to metrics.jsonl and the logger, and progress to the terminal."""

import time
from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from memlab.measures.metrics import TableMetrics
from memlab.objectives import Sums
from memlab.processes import ranks
from memlab.progress import Bar
from memlab.storage.run_folder import RunFolder
from memlab.training.watched import Gradients, Memories, Places


class Metrics(Callback):
    """Writes a row of metrics.jsonl every `every` steps and after each validation; `send` gets the same rows.

    Training metrics are sums over the steps since the last row. The sums and the seconds spent are in the checkpoint,
    so a resumed run writes the same rows as an uninterrupted one. clip: the largest norm of the gradient; None: none.
    """

    def __init__(
        self,
        folder: RunFolder,
        every: int,
        vocab: int,
        tokens_per_step: int,
        send: Callable[[dict[str, Any]], None],
        clip: float | None,
    ) -> None:
        self.folder = folder
        self.every = every
        self.vocab = vocab
        self.tokens_per_step = tokens_per_step
        self.send = send  # not `log`, which Lightning would overwrite
        self.train: dict[str, TableMetrics] = {}
        self.validation: dict[str, TableMetrics] = {}
        self.gradients = Gradients(clip)
        self.places: dict[str, Places] = {}  # of the validation's tables
        self.memories = Memories()
        self.seconds_before = 0.0  # of the runs that this run resumes
        self.row_seconds = 0.0  # at the last row
        self.row_step = 0
        self.latest = ""
        self._started = time.monotonic()
        self._step = 0

    @property
    def seconds(self) -> float:
        """Return the wall time of training with its validations, over all interruptions."""
        return self.seconds_before + time.monotonic() - self._started

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._started = time.monotonic()
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Tensor, batch_idx: int) -> None:
        self._add(self.train, outputs["sums"], module)
        step = trainer.global_step
        if step == self._step:
            return  # this step has more batches to come
        self._step = step
        self.gradients.add(module.gradient_norm)
        if step % self.every == 0:
            self._train_row(trainer, step)

    def on_validation_start(self, trainer: Trainer, module: Any) -> None:
        self.memories.listen(module.model.encoder)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: Tensor,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add(self.validation, outputs["sums"], module)
        for name, table in outputs["sums"].items():
            if table.by_place_3L is not None:
                self.places[name].update(table.by_place_3L)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        for name in self.train:  # a rank without held-out windows still takes part in the sums
            self._table(self.validation, name, module)
        values = self._take(self.validation, "val")
        for name, places in self.places.items():
            middle = f"{name}/" if len(self.places) > 1 else ""
            values.update({f"places/{middle}{place}/token_accuracy": of for place, of in places.compute().items()})
            places.reset()
        self._write(trainer.global_step, {**values, **self.memories.take()})

    def state_dict(self) -> dict[str, Any]:
        return {
            "train": {name: metrics.summed_state_dict() for name, metrics in self.train.items()},
            "gradients": self.gradients.state(),  # the same on all ranks
            "seconds": self.seconds,
            "row_seconds": self.row_seconds,
            "row_step": self.row_step,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, state in state_dict["train"].items():
            self.train[name] = TableMetrics(self.vocab)
            self.train[name].load_state_dict(state)
            if not ranks.is_first():
                self.train[name].reset()  # the sums are those of all ranks
        self.gradients.load(state_dict.get("gradients", torch.zeros(0)))  # older checkpoints have none
        self.seconds_before = state_dict["seconds"]
        self.row_seconds = state_dict["row_seconds"]
        self.row_step = state_dict["row_step"]

    def _add(self, tables: dict[str, TableMetrics], sums: dict[str, Sums], module: LightningModule) -> None:
        for name, table in sums.items():
            self._table(tables, name, module).update(loss=table.loss_R, correct=table.correct_R, count=table.count_R)
            if table.by_place_3L is not None and name not in self.places:
                self.places[name] = Places(table.by_place_3L.shape[1]).to(module.device)

    def _table(self, tables: dict[str, TableMetrics], name: str, module: LightningModule) -> TableMetrics:
        if name not in tables:
            tables[name] = TableMetrics(self.vocab)
        return tables[name].to(module.device)

    def _take(self, tables: dict[str, TableMetrics], prefix: str) -> dict[str, float]:
        """Return values by name, such as `val/token_accuracy` (with several tables, `val/<table>/...`), and reset."""
        values = {}
        for name, metrics in tables.items():
            middle = f"{name}/" if len(tables) > 1 else ""
            values.update({f"{prefix}/{middle}{key}": value for key, value in metrics.compute().items()})
            metrics.reset()
        return values

    def _train_row(self, trainer: Trainer, step: int) -> None:
        values = self._take(self.train, "train")
        losses = {name: value for name, value in values.items() if name.endswith("cross_entropy")}
        self.latest = "loss " + " ".join(f"{value:.3f}" for value in losses.values())
        seconds = self.seconds
        speed = (step - self.row_step) * self.tokens_per_step / max(seconds - self.row_seconds, 1e-9)
        self.row_seconds, self.row_step = seconds, step
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._write(step, {**values, **self.gradients.take(), "lr": rate, "tokens_per_second": round(speed)})

    def _write(self, step: int, values: dict[str, float]) -> None:
        if not ranks.is_first():
            return
        costs = {"tokens": step * self.tokens_per_step, "seconds": round(self.seconds, 3)}
        row = {"step": step, **costs, **values}
        self.folder.append_metrics(row)
        self.send(row)


class ShowProgress(Callback):
    """Moves the stage's bar and, if there is one, the bar of all stages, at most ten times a second."""

    def __init__(self, metrics: Metrics, stage: Bar, whole: Bar | None, flops_per_step: float) -> None:
        self.metrics = metrics
        self.stage = stage
        self.whole = whole
        self.flops_per_step = flops_per_step
        self._before = 0.0 if whole is None else whole.done - stage.done * flops_per_step
        self._shown = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if now - self._shown > 0.1:
            self._shown = now
            step = trainer.global_step
            if self.whole is not None:
                self.whole.update(self._before + step * self.flops_per_step)
            self.stage.update(step, self.metrics.latest)

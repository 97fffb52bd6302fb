"""One LightningModule for every stage: it holds a model and an objective and knows neither's layout."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from memlab.models import LanguageModel
from memlab.objectives import IGNORE, Objective, Sums
from memlab.objectives.free_running import free_running_sums
from memlab.processes import ranks


class StageModule(LightningModule):
    """Trains `model` on `objective` for `steps` optimizer steps with AdamW, warm-up and linear decay.

    chunks, length: layout of a sequence; token_bytes: bytes of each token id (V,), for bits per byte;
    free_running_windows: windows of an evaluation that are also decoded greedily, where the objective has tables of
    copying. Every rank is given whole training batches, and takes its share of the rows.
    Steps return {"loss", "sums"}: callbacks read the sums, nothing here waits for the device.
    """

    def __init__(
        self,
        model: LanguageModel,
        objective: Objective,
        token_bytes: Tensor,
        *,
        chunks: int,
        length: int,
        steps: int,
        seed: int,
        lr: float,
        betas: Sequence[float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        warmup: int = 0,
        free_running_windows: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.register_buffer("token_bytes", token_bytes, persistent=False)
        self.layout: dict[str, Any] = {"chunks": chunks, "length": length}
        self.steps = steps
        self.seed = seed
        self.optimizer_options: dict[str, Any] = {
            "lr": lr,
            "betas": tuple(betas),
            "weight_decay": weight_decay,
            "fused": True,
        }
        # A short stage would otherwise spend itself on the warm-up.
        self.warmup = min(warmup, steps // 10)
        self.batch_number = 0  # of the next one
        self.free_running_windows = free_running_windows
        self.predicted = 0  # windows of an evaluation so far
        self.generator = torch.Generator()
        # From the number of a training batch, its tokens and this rank's rows to the memories of those rows' chunks,
        # where they are kept.
        self.known_memories: Callable[[int, Tensor, slice], Tensor] | None = None

    def training_step(self, tokens_BT: Tensor, _: int) -> dict[str, Any]:
        number = self.batch_number
        self.generator.manual_seed(self.seed * 2**32 + number)
        self.batch_number += 1
        part = own_rows(len(tokens_BT))
        loss, sums = self.objective.losses(
            self.model,
            tokens_BT,
            **self.layout,
            progress=self.global_step / self.steps,
            generator=self.generator,
            known_BcMD=self.known_memories(number, tokens_BT, part) if self.known_memories is not None else None,
            part=part,
        )
        return {"loss": loss, "sums": sums}

    def validation_step(self, tokens_BT: Tensor, _: int) -> dict[str, dict[str, Sums]]:
        if not len(tokens_BT):  # the other ranks have them all
            return {"sums": {}}
        return {"sums": self.objective.losses(self.model, tokens_BT, **self.layout)[1]}

    def predict_step(self, tokens_BT: Tensor, _: int) -> dict[str, dict[str, Tensor]]:
        """By table: "loss", "correct", "count", "bytes" of each window's scored tokens, (R,) each.

        Of the first windows also "free_correct" and "free_count", for tables that are decoded greedily.
        """
        sums = self.objective.losses(self.model, tokens_BT, **self.layout)[1]
        tables = self.objective.tables(tokens_BT, **self.layout)
        found = {
            table.name: {
                "loss": sums[table.name].loss_R,
                "correct": sums[table.name].correct_R,
                "count": sums[table.name].count_R,
                "bytes": self._scored_bytes(table.labels_BCL),
            }
            for table in tables
        }
        left = self.free_running_windows - self.predicted
        self.predicted += len(tokens_BT)
        if left > 0:
            free = free_running_sums(self.model, self.objective, tokens_BT[:left], **self.layout)
            for name, counts in free.items():
                found[name] |= {"free_correct": counts.correct_R, "free_count": counts.count_R}
        return found

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, **self.optimizer_options)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, self.rate), "interval": "step"},
        }

    def rate(self, step: int) -> float:
        """Share of the learning rate at a step: up linearly over the warm-up, then down linearly to 0 at the end."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return max(0.0, (self.steps - step) / (self.steps - self.warmup))

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """The norm of all gradients; those of shards are on all ranks together, which Lightning does not do itself."""
        strategy = self.trainer.strategy
        if isinstance(strategy, FSDPStrategy) and gradient_clip_val:
            whole: Any = strategy.model
            whole.clip_grad_norm_(gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # For models that draw random numbers (dropout): a resumed run draws what an unbroken one would have.
        checkpoint["random"] = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            checkpoint["random"]["cuda"] = torch.cuda.get_rng_state()  # of this rank's GPU

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        torch.set_rng_state(checkpoint["random"]["cpu"].cpu())
        if "cuda" in checkpoint["random"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(checkpoint["random"]["cuda"].cpu())

    def _scored_bytes(self, labels_BCL: Tensor) -> Tensor:
        scored = labels_BCL != IGNORE
        assert isinstance(self.token_bytes, Tensor)
        return (self.token_bytes[labels_BCL.clamp(min=0)] * scored).flatten(1).sum(1)


def own_rows(rows: int) -> slice:
    """This rank's share of a training batch; the number of ranks divides it."""
    share = rows // ranks.world()
    return slice(ranks.rank() * share, (ranks.rank() + 1) * share)

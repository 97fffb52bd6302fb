"""One LightningModule for every stage: it holds a model and an objective and knows neither's layout."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from memlab.models import LanguageModel
from memlab.objectives import Draw, Layout, Objective, Sums
from memlab.processes import ranks

# (batch number, tokens of this rank's rows, the rows) -> memories of their chunks
KnownMemories = Callable[[int, Tensor, slice], Tensor]


@dataclass
class Clock:
    """Which training batch comes next; the module advances it, callbacks read it."""

    batch: int = 0


class StageModule(LightningModule):
    """Trains `model` on `objective` for `steps` optimizer steps.

    layout: chunks and tokens per chunk. optimizer: factory (parameters) -> Optimizer. schedule: (step, steps) -> share
    of the learning rate. known_memories: gives memories that are kept from earlier; None: nothing is kept.
    Every rank is given whole training batches and takes its share of the rows. Whatever is random in a step is drawn
    from (seed, place, batch number), so a resumed run needs no random state of the run before.
    Steps return {"loss", "nats", "sums"}: callbacks read them, nothing here waits for the device.
    """

    def __init__(
        self,
        model: LanguageModel,
        objective: Objective,
        *,
        layout: Layout,
        steps: int,
        seed: int,
        place: int,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[[int, int], float],
        clock: Clock,
        known_memories: KnownMemories | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.layout = layout
        self.steps = steps
        self.seed = seed
        self.place = place
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.clock = clock
        self.known_memories = known_memories
        self.gradient_norm: Tensor | None = None  # of the last step, before clipping; None where nothing is clipped
        self.generator = torch.Generator()  # of masks, which are drawn for the rows of all ranks
        self.borrowed = {f"model.{name}" for name in model.state_dict().keys() - model.saved_names()}

    def training_step(self, tokens_BT: Tensor, _: int) -> dict[str, Any]:
        number = self.clock.batch
        self.clock.batch += 1
        self.generator.manual_seed(derived_seed(self.seed, self.place, number))
        torch.manual_seed(derived_seed(self.seed, self.place, number, ranks.rank()))  # of dropout
        part = own_rows(len(tokens_BT))
        known = None if self.known_memories is None else self.known_memories(number, tokens_BT, part)
        draw = Draw(progress=self.global_step / self.steps, generator=self.generator)
        loss, sums = self.objective.losses(self.model, tokens_BT, self.layout, draw=draw, known_BcMD=known, part=part)
        # Lightning divides "loss" by the number of accumulated batches before callbacks see it.
        return {"loss": loss, "nats": loss.detach(), "sums": sums}

    def validation_step(self, tokens_BT: Tensor, _: int) -> dict[str, dict[str, Sums]]:
        if not len(tokens_BT):  # the other ranks have all windows
            return {"sums": {}}
        sums = self.objective.losses(self.model, tokens_BT, self.layout)[1]
        return {"sums": sums if ranks.is_first() or not isinstance(self.trainer.strategy, FSDPStrategy) else {}}

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer([p for p in self.parameters() if p.requires_grad])
        schedule = LambdaLR(optimizer, lambda step: self.schedule(step, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name in self.borrowed:
            checkpoint["state_dict"].pop(name, None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.borrowed:
            here = self.state_dict()
            checkpoint["state_dict"] |= {name: here[name] for name in self.borrowed}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the norm of all gradients together.

        Lightning refuses to clip in mixed precision with a fused optimizer, because a gradient scaler may be at work;
        bf16 needs none. Under FSDP every rank has a part of the gradients, and the wrapped model knows the whole norm.
        """
        if not gradient_clip_val:
            return
        strategy = self.trainer.strategy
        if isinstance(strategy, FSDPStrategy):
            whole: Any = strategy.model
            self.gradient_norm = whole.clip_grad_norm_(gradient_clip_val)
        else:
            parameters = self.trainer.precision_plugin.main_params(optimizer)
            self.gradient_norm = torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)


def own_rows(rows: int) -> slice:
    """Return this rank's share of a training batch; the number of ranks divides it."""
    share = rows // ranks.world()
    return slice(ranks.rank() * share, (ranks.rank() + 1) * share)


def derived_seed(*numbers: int) -> int:
    """Return a seed below 2^63 that differs for different numbers, however large they are."""
    text = ",".join(map(str, numbers))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1

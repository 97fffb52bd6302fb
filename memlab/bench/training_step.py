"""A stage's training step on random tokens, timed (shapes: see memlab/objectives/base.py)."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from memlab.bench.decoding import wait
from memlab.bench.memory import peak_bytes, tensor_bytes
from memlab.config.instantiate import build
from memlab.config.stage import Config, Job
from memlab.errors import UserError
from memlab.models import LanguageModel, MemoryModel
from memlab.objectives import Draw
from memlab.training.build import build_stage, layout_of
from memlab.training.memory_cache import MemoryCache
from memlab.training.trainer import on_gpu, speed_up

BATCHES = 2  # that go round
PRECISIONS = ("32-true", "bf16-mixed")


def device_of(settings: Config) -> str:
    return "cuda" if on_gpu(settings) else "cpu"


def precision_of(training: Config, device: str) -> Any:
    """Return a context of the stage's precision. Raises UserError for one that cannot be measured."""
    if training["precision"] not in PRECISIONS:
        raise UserError(f"trainer.precision={training['precision']}: speeds are measured in {' or '.join(PRECISIONS)}")
    return torch.autocast(device, torch.bfloat16, enabled=training["precision"] == "bf16-mixed")


class TrainingStep:
    """Forward pass, backward pass, clipping and optimizer, as a stage computes them, from random weights.

    With trainer.cache_embeddings, a frozen encoder's memories are read from a cache in a temporary folder.
    """

    def __init__(self, job: Job) -> None:
        self.stage = stage = job.stage
        self.device = device_of(job.settings)
        self.layout = layout_of(stage)
        self.model, self.objective = build_stage(stage)
        self.model.to(self.device).train()
        speed_up(self.model, job.settings)
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = build(stage.training["optimizer"])(self.trained)
        generator = torch.Generator().manual_seed(0)
        shape = (stage.training["batch_size"], self.objective.window(self.layout))
        self.batches = [
            torch.randint(2, stage.data["vocab"], shape, generator=generator).to(self.device) for _ in range(BATCHES)
        ]
        self.draw = Draw(progress=0.0, generator=torch.Generator())
        self.cache: MemoryCache | None = None
        if caches(job, self.model):
            assert isinstance(self.model, MemoryModel)
            self._folder = tempfile.TemporaryDirectory(prefix="memlab-throughput-")
            windows, chunks = BATCHES * shape[0], shape[1] // self.layout.length
            self.cache = MemoryCache(Path(self._folder.name) / "cache", self.model, windows, chunks)
        self.count = 0

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        training = self.stage.training
        return int(training["accumulate"]) * self.batches[0].numel()

    def warm_up(self) -> None:
        """Take a step on every batch: the optimizer has its state then, and the cache its memories."""
        for _ in range(BATCHES):
            self._step()
        wait(self.device)

    def timed(self) -> dict[str, float]:
        started = time.perf_counter()
        self._step()
        wait(self.device)
        return {"step_seconds": time.perf_counter() - started}

    def peak_bytes(self) -> int:
        """Return the bytes in use at the peak of a step: weights and optimizer's state, gradients, all else."""
        states = (value for state in self.optimizer.state.values() for value in state.values())
        held = [*self.model.parameters(), *self.model.buffers(), *(v for v in states if isinstance(v, Tensor))]
        return tensor_bytes(held) + peak_bytes(self._step, self.device)

    def _step(self) -> None:
        """Take a step; no gradient is left behind."""
        training = self.stage.training
        for _ in range(training["accumulate"]):
            number = self.count % BATCHES
            self.count += 1
            with precision_of(training, self.device):
                loss, _ = self.objective.losses(
                    self.model, self.batches[number], self.layout, draw=self.draw, known_BcMD=self._known(number)
                )
            loss.backward()
        if training["clip"]:
            nn.utils.clip_grad_norm_(self.trained, training["clip"])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _known(self, number: int) -> Tensor | None:
        if self.cache is None:
            return None
        size = len(self.batches[number])
        return self.cache.memories(range(number * size, (number + 1) * size), self.batches[number])


def caches(job: Job, model: LanguageModel) -> bool:
    """Whether a stage reads its encoder's memories from a cache."""
    frozen = job.stage.freeze_encoder is True and isinstance(model, MemoryModel) and model.encoder is not None
    return bool(frozen and job.settings["cache_embeddings"])


def operations_per_token(job: Job) -> float:
    """Return the operations of the matrix products of a training step, forward and backward: 2 per multiply-add.

    Counted on shapes alone; kept memories cost the projection alone.
    """
    with torch.device("meta"):
        model, objective = build_stage(job.stage)
        layout = layout_of(job.stage)
        tokens_BT = torch.zeros(1, objective.window(layout), dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            known_BcMD = None
            if caches(job, model):
                assert isinstance(model, MemoryModel) and model.encoder is not None
                chunks = tokens_BT.shape[1] // layout.length
                known_BcMD = model.projection(torch.zeros(1, chunks, model.memories, model.encoder.width))
            loss, _ = objective.losses(model, tokens_BT, layout, known_BcMD=known_BcMD)
            loss.backward()
    return float(counter.get_total_flops()) / tokens_BT.numel()

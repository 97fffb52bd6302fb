"""Two ways to compute a case: memlab's, and the baseline's. Batches go round over a few that are made beforehand."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memlab.bench.baseline import PlainMixerBlock, PlainModel, PlainTransformer
from memlab.bench.cases import OBJECTIVES, Case, model_spec
from memlab.build import build_model, build_objective
from memlab.lit.embeddings import EmbeddingCache
from memlab.models import LanguageModel, MemoryModel
from memlab.models.base import Stack

CLIP = 1.0


class Side:
    """A model with its optimizer; subclasses say how a loss is computed."""

    optimizer: torch.optim.Optimizer
    parameters: list[nn.Parameter]

    def __init__(self, case: Case) -> None:
        self.case = case
        self.objective = build_objective({"_target_": OBJECTIVES[case.objective]})
        self.layout: dict[str, Any] = {"chunks": case.size.chunks, "length": case.size.length}
        generator = torch.Generator().manual_seed(0)
        shape = (case.size.batch, self.objective.window(**self.layout))
        self.batches = [torch.randint(2, case.size.vocab, shape, generator=generator).to(case.device) for _ in range(4)]

    def precision(self) -> Any:
        return torch.autocast(self.case.device, torch.bfloat16) if self.case.autocast else nullcontext()

    def loss(self, number: int) -> Tensor:
        raise NotImplementedError

    def evaluate(self, number: int) -> None:
        raise NotImplementedError

    def gradients(self, number: int) -> None:
        for parameter in self.parameters:
            parameter.grad = None
        self.loss(number).backward()

    def step(self, number: int) -> None:
        self.gradients(number)
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()


class Memlab(Side):
    """The fast path, as a stage runs it."""

    def __init__(self, case: Case, model: LanguageModel) -> None:
        super().__init__(case)
        self.model = model.to(case.device)
        if model.encoder is not None and case.encoder.startswith("frozen"):
            model.encoder.requires_grad_(False)
        if case.compile:
            for stack in (module for module in model.modules() if isinstance(module, Stack)):
                stack.compile()
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=0.0, fused=True)
        self.cache: EmbeddingCache | None = None
        if case.encoder == "frozen_cached":
            assert isinstance(model, MemoryModel)
            self._folder = tempfile.TemporaryDirectory(prefix="memlab-bench-")
            windows = len(self.batches) * case.size.batch
            window_chunks = self.batches[0].shape[1] // case.size.length
            self.cache = EmbeddingCache(Path(self._folder.name) / "cache", model, windows, window_chunks)

    def loss(self, number: int) -> Tensor:
        return self._losses(number)[0]

    def evaluate(self, number: int) -> None:
        with torch.inference_mode():
            self._losses(number)

    def _losses(self, number: int) -> Any:
        place = number % len(self.batches)
        tokens = self.batches[place]
        with self.precision():
            known = None
            if self.cache is not None:
                first = place * self.case.size.batch
                known = self.cache.memories(range(first, first + self.case.size.batch), tokens)
            return self.objective.losses(self.model, tokens, **self.layout, known_BcMD=known)


class Baseline(Side):
    """The published way; it knows no cached embeddings, so `frozen_cached` is held against its frozen encoder."""

    def __init__(self, case: Case, model: LanguageModel) -> None:
        super().__init__(case)
        self.model = PlainModel(model, frozen=case.encoder.startswith("frozen")).to(case.device)
        if case.compile:
            for module in self.model.modules():
                if isinstance(module, PlainTransformer | PlainMixerBlock):
                    module.compile()
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=0.0)

    def loss(self, number: int) -> Tensor:
        return self._losses(number)[0]

    def evaluate(self, number: int) -> None:
        with torch.no_grad():
            self._losses(number)

    def _losses(self, number: int) -> tuple[Tensor, Tensor]:
        with self.precision():
            return self.model.loss(self.objective, self.batches[number % len(self.batches)], **self.layout)


SIDES: dict[str, type[Memlab] | type[Baseline]] = {"memlab": Memlab, "baseline": Baseline}


def make_model(case: Case) -> LanguageModel:
    """The case's model with random weights, seeded."""
    torch.manual_seed(0)
    return build_model(model_spec(case), case.size.vocab)

"""Two ways to compute a case: memlab's, and the baseline's. Batches go round over a few that are made beforehand."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memlab.bench.baseline import PlainModel, compile_baseline
from memlab.bench.cases import Case
from memlab.models import LanguageModel, MemoryModel
from memlab.objectives import Autoencode, BlankCopy, CausalLanguageModelling, Combined, Copy, Layout, Objective
from memlab.objectives.memories import memories_of
from memlab.training.memory_cache import MemoryCache
from memlab.training.trainer import compile_blocks

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind for kind in (CausalLanguageModelling, Copy, BlankCopy, Combined, Autoencode)
}
CLIP = 1.0


class Side:
    """A model with its optimizer; subclasses say how logits and loss are computed."""

    optimizer: torch.optim.Optimizer
    parameters: list[nn.Parameter]

    def __init__(self, case: Case) -> None:
        self.case = case
        self.objective = OBJECTIVES[case.objective](blank=0, delimiter=1)
        self.layout = Layout(case.size.chunks, case.size.length)
        generator = torch.Generator().manual_seed(0)
        shape = (case.size.batch, self.objective.window(self.layout))
        self.batches = [torch.randint(2, case.size.vocab, shape, generator=generator).to(case.device) for _ in range(4)]

    def precision(self) -> Any:
        return torch.autocast(self.case.device, torch.bfloat16) if self.case.autocast else nullcontext()

    def logits(self, number: int) -> list[list[Tensor]]:
        """Return, by table, the logits (B, L, V) of its scored chunks, with the graph that training needs; no loss.

        This is the forward pass alone: memlab's head takes its gradient together with its loss, so that only this phase
        holds whole logits.
        """
        raise NotImplementedError

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
        model.freeze_encoder(case.encoder.startswith("frozen"))
        if case.compile:
            compile_blocks(model)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=0.0, fused=True)
        self.cache: MemoryCache | None = None
        if case.encoder == "frozen_cached":
            assert isinstance(model, MemoryModel)
            self._folder = tempfile.TemporaryDirectory(prefix="memlab-bench-")
            windows = len(self.batches) * case.size.batch
            window_chunks = self.batches[0].shape[1] // case.size.length
            self.cache = MemoryCache(Path(self._folder.name) / "cache", model, windows, window_chunks)

    def loss(self, number: int) -> Tensor:
        return self._losses(number)[0]

    def evaluate(self, number: int) -> None:
        with torch.inference_mode():
            self._losses(number)

    def logits(self, number: int) -> list[list[Tensor]]:
        tokens = self.batches[number % len(self.batches)]
        tables = self.objective.tables(tokens, self.layout)
        with self.precision():
            hidden = [
                self.model.hidden(table.inputs_BCL, table.scored, memories_BcMD)
                for table, memories_BcMD in zip(
                    tables, memories_of(self.model, tables, self._known(number)), strict=True
                )
            ]
            return [list(self.model.head(hidden_BnLD).unbind(1)) for hidden_BnLD in hidden]

    def _losses(self, number: int) -> Any:
        tokens = self.batches[number % len(self.batches)]
        with self.precision():
            return self.objective.losses(self.model, tokens, self.layout, known_BcMD=self._known(number))

    def _known(self, number: int) -> Tensor | None:
        if self.cache is None:
            return None
        place = number % len(self.batches)
        first = place * self.case.size.batch
        return self.cache.memories(range(first, first + self.case.size.batch), self.batches[place])


class Baseline(Side):
    """The published way. It caches no memories: its frozen encoder stands for `frozen_cached`, too."""

    def __init__(self, case: Case, model: LanguageModel) -> None:
        super().__init__(case)
        self.model = PlainModel(model, frozen=case.encoder.startswith("frozen")).to(case.device)
        if case.compile:
            compile_baseline(self.model)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=0.0)

    def loss(self, number: int) -> Tensor:
        return self._losses(number)[0]

    def evaluate(self, number: int) -> None:
        with torch.no_grad():
            self._losses(number)

    def logits(self, number: int) -> list[list[Tensor]]:
        tables = self.objective.tables(self.batches[number % len(self.batches)], self.layout)
        with self.precision():
            return [
                self.model.chunk_logits(table.inputs_BCL)[table.scored.start : table.scored.stop] for table in tables
            ]

    def _losses(self, number: int) -> tuple[Tensor, Tensor]:
        with self.precision():
            return self.model.loss(self.objective, self.batches[number % len(self.batches)], self.layout)


SIDES: dict[str, type[Memlab] | type[Baseline]] = {"memlab": Memlab, "baseline": Baseline}

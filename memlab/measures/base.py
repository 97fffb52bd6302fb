"""What every measure promises: a finished model and a text in, sums per window and metrics out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from memlab.data import Prepared
from memlab.data.module import HeldOutBatches, Windows
from memlab.models import LanguageModel
from memlab.objectives import Layout, Objective


@dataclass(frozen=True)
class Subject:
    """A finished model, the objective whose tables it is measured on, and the held-out text."""

    model: LanguageModel
    objective: Objective
    layout: Layout
    text: Prepared  # its held-out split is measured on
    batch_size: int
    device: torch.device

    def batches(self, windows: int) -> Iterator[Tensor]:
        """Yield the same `windows` held-out windows every time (all, if there are fewer), (B, T) token ids."""
        if windows == 0:
            return
        held_out = Windows.of(self.text, "val", self.objective.window(self.layout))
        batches = HeldOutBatches(held_out, self.batch_size, windows)
        for number in range(len(batches)):
            yield batches[number].to(self.device)

    def table_names(self) -> list[str]:
        """Return the names of the objective's tables."""
        tokens_BT = next(self.batches(1))
        return [table.name for table in self.objective.tables(tokens_BT, self.layout)]

    def scored_bytes(self, labels_BCL: Tensor) -> Tensor:
        """Return the bytes of text that each window's scored tokens stand for, (B,)."""
        bytes_V = torch.from_numpy(self.text.token_bytes).to(labels_BCL.device)
        return (bytes_V[labels_BCL.clamp(min=0)] * (labels_BCL >= 0)).flatten(1).sum(1)


@dataclass(frozen=True)
class Result:
    """What a measure found.

    metrics: {table: {name: number}}; windows, places: {table: {sum's name: a number per window, per place in the
    chunk}}; samples: rows of text.
    """

    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    windows: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    places: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)


class Measure:
    """Turns a finished model and a text into numbers. windows: how many held-out windows are measured.

    A measure of your own is a class with `measure` and a file in conf/measure (docs/extending.md).
    """

    name: ClassVar[str]

    def __init__(self, *, windows: int) -> None:
        self.windows = windows

    def __call__(self, subject: Subject) -> Result:
        """Measure; the result is empty where the measure does not apply to such a model or objective."""
        raise NotImplementedError

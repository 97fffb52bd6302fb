"""Metrics of memory as torchmetrics: sums of numerators and denominators over batches and ranks, divided once.

All are updated with the sums over the scored tokens of each window, (R,) tensors as an objective's `Sums` holds them.
"""

import math
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from memlab.errors import UserError

TABLE_METRICS = ("token_accuracy", "cross_entropy", "entropy_ratio")  # in the order in which they are shown


class _Ratio(Metric):
    """Sum of numerators / sum of denominators; NaN before the first update."""

    full_state_update = False
    numerator: Tensor
    denominator: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("numerator", "denominator"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def _add(self, numerator: Tensor, denominator: Tensor) -> None:
        self.numerator += numerator.double().sum()
        self.denominator += denominator.double().sum()

    def compute(self) -> Tensor:
        return self.numerator / self.denominator


class TokenAccuracy(_Ratio):
    """Share of scored tokens whose likeliest prediction is right (the paper prints it as "Hamming")."""

    higher_is_better = True

    def update(self, correct: Tensor, count: Tensor) -> None:
        self._add(correct, count)


class CrossEntropy(_Ratio):
    """Nats per scored token."""

    higher_is_better = False

    def update(self, loss: Tensor, count: Tensor) -> None:
        self._add(loss, count)


class EntropyRatio(CrossEntropy):
    """I_e = 1 - CE / CE_0, where CE_0 is the mean loss of logits drawn from U[0, 1): 1 keeps all, about 0 nothing.

    Raises UserError for a vocabulary of fewer than 2 tokens.
    """

    higher_is_better = True

    def __init__(self, vocab: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chance = chance_cross_entropy(vocab)

    def compute(self) -> Tensor:
        return 1 - super().compute() / self.chance


class BitsPerByte(_Ratio):
    """Bits per byte of text: CE in bits, plus the bits of stored embeddings, over the bytes of the scored tokens."""

    higher_is_better = False

    def update(self, loss: Tensor, byte_count: Tensor, stored_bits: float = 0.0) -> None:
        """loss: nats; byte_count: bytes of the scored tokens; stored_bits: of all embeddings behind this update."""
        self._add(loss.double().sum() / math.log(2) + stored_bits, byte_count)


class Capacity(_Ratio):
    """What a chunk's memory holds beside what the chunk holds: compression in tokens and in bits.

    memory_floats, bits_per_float: of the memory stored per chunk; chunk_length: tokens it stands for; vectors: M.
    compute() -> memory_floats, memory_bits, tokens_per_vector = L / M, text_bits per chunk, and
    bit_compression = text_bits / memory_bits: below 1 the memory is larger than the text it replaces.
    """

    def __init__(
        self, *, memory_floats: int, chunk_length: int, vectors: int = 1, bits_per_float: int = 32, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.memory_floats = memory_floats
        self.chunk_length = chunk_length
        self.vectors = vectors
        self.bits_per_float = bits_per_float

    def update(self, byte_count: Tensor, count: Tensor) -> None:
        self._add(byte_count, count)

    def compute(self) -> Any:
        text_bits = 8 * self.chunk_length * super().compute().item()
        memory_bits = self.memory_floats * self.bits_per_float
        return {
            "memory_floats": self.memory_floats,
            "memory_bits": memory_bits,
            "tokens_per_vector": self.chunk_length / self.vectors,
            "text_bits": text_bits,
            "bit_compression": text_bits / memory_bits,
        }


class TableMetrics(MetricCollection):
    """The metrics of one token table by name; what they have summed is part of the state dict.

    Each takes its part of update(loss=, correct=, count=).
    """

    def __init__(self, vocab: int, **options: Any) -> None:
        """options: of every torchmetrics Metric, such as sync_on_compute."""
        metrics = TokenAccuracy(**options), CrossEntropy(**options), EntropyRatio(vocab, **options)
        super().__init__(dict(zip(TABLE_METRICS, metrics, strict=True)), compute_groups=False)
        self.persistent(True)

    def compute(self) -> dict[str, float]:
        found = super().compute()
        return {name: found[name].item() for name in TABLE_METRICS}

    def summed_state_dict(self) -> dict[str, Any]:
        """The state dict with the sums of all ranks, on each of them."""
        with ExitStack() as stack:
            for metric in self.values():
                stack.enter_context(metric.sync_context())
            return {name: value.clone() for name, value in self.state_dict().items()}


def chance_cross_entropy(vocab: int) -> float:
    """CE_0 = ln(V (e - 1)) - 1/2 nats, the mean loss of logits drawn from U[0, 1): 9.03 for V = 8000.

    Raises UserError for a vocabulary of fewer than 2 tokens.
    """
    if vocab < 2:
        raise UserError(f"vocab={vocab}: choose at least 2 tokens")
    return math.log(vocab * (math.e - 1)) - 0.5

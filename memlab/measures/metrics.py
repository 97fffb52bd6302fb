"""Metrics of memory as torchmetrics: sums of numerators and denominators over batches and ranks, divided once.

All are updated with the sums over the scored tokens of each window, (R,) tensors as an objective's `Sums` holds them.
"""

import math
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from memlab.errors import UserError


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


class Capacity(Metric):
    """What a chunk's memory holds beside what the chunk holds: compression in tokens and in bits.

    memory_floats, bits_per_float: of the memory stored per chunk; chunk_length: tokens it stands for; vectors: M.
    compute() -> memory_floats, memory_bits, tokens_per_vector = L / M, text_bits per chunk, and
    bit_compression = text_bits / memory_bits: below 1 the memory is larger than the text it replaces.
    """

    full_state_update = False
    byte_count: Tensor
    token_count: Tensor

    def __init__(
        self, *, memory_floats: int, chunk_length: int, vectors: int = 1, bits_per_float: int = 32, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.memory_floats = memory_floats
        self.chunk_length = chunk_length
        self.vectors = vectors
        self.bits_per_float = bits_per_float
        for name in ("byte_count", "token_count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, byte_count: Tensor, count: Tensor) -> None:
        self.byte_count += byte_count.double().sum()
        self.token_count += count.double().sum()

    def compute(self) -> dict[str, float]:
        text_bits = 8 * self.chunk_length * (self.byte_count / self.token_count).item()
        memory_bits = self.memory_floats * self.bits_per_float
        return {
            "memory_floats": self.memory_floats,
            "memory_bits": memory_bits,
            "tokens_per_vector": self.chunk_length / self.vectors,
            "text_bits": text_bits,
            "bit_compression": text_bits / memory_bits,
        }


class TableMetrics(nn.Module):
    """The metrics of one token table, by name; what they have summed is part of the state dict."""

    def __init__(self, vocab: int, **options: Any) -> None:
        """options: of every torchmetrics Metric, such as sync_on_compute."""
        super().__init__()
        self.token_accuracy = TokenAccuracy(**options)
        self.cross_entropy = CrossEntropy(**options)
        self.entropy_ratio = EntropyRatio(vocab, **options)
        for metric in self._metrics().values():
            metric.persistent(True)

    def update(self, loss: Tensor, correct: Tensor, count: Tensor) -> None:
        self.token_accuracy.update(correct, count)
        self.cross_entropy.update(loss, count)
        self.entropy_ratio.update(loss, count)

    def compute(self) -> dict[str, float]:
        return {name: metric.compute().item() for name, metric in self._metrics().items()}

    def reset(self) -> None:
        for metric in self._metrics().values():
            metric.reset()

    def summed_state_dict(self) -> dict[str, Any]:
        """The state dict with the sums of all ranks, on each of them."""
        with ExitStack() as stack:
            for metric in self._metrics().values():
                stack.enter_context(metric.sync_context())
            return {name: value.clone() for name, value in self.state_dict().items()}

    def _metrics(self) -> dict[str, Metric]:
        return {name: metric for name, metric in self.named_children() if isinstance(metric, Metric)}


def chance_cross_entropy(vocab: int) -> float:
    """CE_0 = ln(V (e - 1)) - 1/2 nats, the mean loss of logits drawn from U[0, 1): 9.03 for V = 8000.

    Raises UserError for a vocabulary of fewer than 2 tokens.
    """
    if vocab < 2:
        raise UserError(f"vocab={vocab}: choose at least 2 tokens")
    return math.log(vocab * (math.e - 1)) - 0.5

import math

import pytest
import torch

from memlab.measures.metrics import (
    BitsPerByte,
    Capacity,
    CrossEntropy,
    EntropyRatio,
    TableMetrics,
    TokenAccuracy,
    chance_cross_entropy,
)


def test_sums_are_divided_once() -> None:
    """Batches of 1 and 9 tokens: a mean of means would be 0.75."""
    accuracy, loss = TokenAccuracy(), CrossEntropy()
    for correct, count in ((1.0, 1.0), (4.5, 9.0)):
        accuracy.update(torch.tensor([correct]), torch.tensor([count]))
        loss.update(torch.tensor([correct]), torch.tensor([count]))
    assert accuracy.compute().item() == loss.compute().item() == 0.55


def test_chance_cross_entropy_is_the_loss_of_uniform_logits() -> None:
    """CE_0 (science): the mean loss of logits drawn from U[0, 1); 9.03 for 8,000 tokens."""
    assert chance_cross_entropy(8000) == pytest.approx(9.03, abs=0.005)
    logits = torch.rand(2000, 8000, generator=torch.Generator().manual_seed(0))
    measured = torch.nn.functional.cross_entropy(logits, torch.zeros(2000, dtype=torch.long))
    assert chance_cross_entropy(8000) == pytest.approx(measured.item(), abs=0.02)
    with pytest.raises(ValueError, match="at least 2"):
        chance_cross_entropy(1)


def test_entropy_ratio_is_0_at_chance_and_1_without_loss() -> None:
    ratio = EntropyRatio(512)
    ratio.update(torch.tensor([10 * chance_cross_entropy(512)], dtype=torch.float64), torch.tensor([10]))
    assert ratio.compute().item() == pytest.approx(0)
    ratio.reset()
    ratio.update(torch.tensor([0.0]), torch.tensor([10]))
    assert ratio.compute().item() == 1


def test_bits_per_byte_counts_the_stored_embedding() -> None:
    """(tokens / bytes) * CE / ln 2 + D * bits / (L * bytes per token); 16 floats of 32 bits for 8 tokens of 2 bytes."""
    bits = BitsPerByte()
    bits.update(torch.tensor([8 * math.log(4)]), torch.tensor([16]))
    assert bits.compute().item() == pytest.approx(1)
    bits.update(torch.zeros(1), torch.zeros(1), stored_bits=16 * 32)
    assert bits.compute().item() == pytest.approx(1 + 16 * 32 / (8 * 2))


def test_capacity_in_tokens_and_in_bits() -> None:
    """A vector may replace 16 tokens and still be larger than their text."""
    capacity = Capacity(memory_floats=128, chunk_length=16)
    capacity.update(torch.tensor([20.0, 40.0]), torch.tensor([10.0, 10.0]))
    assert capacity.compute() == {
        "memory_floats": 128,
        "memory_bits": 4096,
        "tokens_per_vector": 16,
        "text_bits": 8 * 16 * 3,
        "bit_compression": 8 * 16 * 3 / 4096,
    }


def test_table_metrics_survive_a_checkpoint() -> None:
    one = TableMetrics(300)
    one.update(loss=torch.tensor([3.0]), correct=torch.tensor([1.0]), count=torch.tensor([2.0]))
    two = TableMetrics(300)
    two.load_state_dict(one.state_dict())
    for metrics in (one, two):
        metrics.update(loss=torch.tensor([1.0]), correct=torch.tensor([1.0]), count=torch.tensor([2.0]))
    assert one.compute() == two.compute()
    assert one.compute()["cross_entropy"] == 1

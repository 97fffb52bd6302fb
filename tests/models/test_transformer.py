"""The transformer stack: an independent computation, causality, initialisation."""

import math

import pytest
import torch
from torch import Tensor

from memlab.models import TransformerStack
from memlab.models.transformer import TransformerBlock


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def by_hand(block: TransformerBlock, x: Tensor, heads: int, theta: float) -> Tensor:
    """One row (T, D): attention position by position, rotary positions as complex numbers."""
    positions, width = x.shape
    size = width // heads
    query, key, value = block.query_key_value.weight.split(width)
    normed = rms_norm(x, block.attention_norm.weight)
    mixed = torch.zeros_like(x)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)

        def turned(matrix: Tensor, part: slice = part) -> Tensor:
            features = normed @ matrix[part].T
            number = torch.complex(features[:, : size // 2], features[:, size // 2 :])
            speed = torch.tensor([theta ** (-2 * i / size) for i in range(size // 2)], dtype=x.dtype)
            return number * torch.polar(torch.ones_like(speed), torch.arange(positions)[:, None] * speed)

        q, k, v = turned(query), turned(key), normed @ value[part].T
        for t in range(positions):
            scores = (q[t].conj() * k[: t + 1]).real.sum(-1) / math.sqrt(size)
            mixed[t, part] = scores.softmax(0) @ v[: t + 1]
    x = x + mixed @ block.attention_out.weight.T
    gate, up = block.gate_up.weight.split(4 * width)
    normed = rms_norm(x, block.mlp_norm.weight)
    gated = normed @ gate.T
    return x + (gated * torch.sigmoid(gated) * (normed @ up.T)) @ block.down.weight.T


@torch.no_grad()
def test_stack_equals_explicit_attention_with_complex_rotary() -> None:
    torch.manual_seed(0)
    stack = TransformerStack(width=24, layers=2, heads=3).double()
    for parameter in stack.parameters():  # weights of std 0.02 would hide a mistake in the scores
        parameter.uniform_(-0.5, 0.5)
    x = torch.randn(2, 7, 24, dtype=torch.double)
    expected = []
    for row in x:
        for block in stack.blocks:
            row = by_hand(block, row, heads=3, theta=10000.0)  # noqa: PLW2901
        expected.append(rms_norm(row, stack.norm.weight))
    # Angles are fp32, hence the tolerance.
    torch.testing.assert_close(stack(x), torch.stack(expected), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_output_does_not_depend_on_later_positions() -> None:
    stack = TransformerStack(width=16, layers=3, heads=2)
    x = torch.randn(2, 9, 16)
    for t in range(9):
        changed = x.clone()
        changed[:, t + 1 :] += 10
        torch.testing.assert_close(stack(changed)[:, : t + 1], stack(x)[:, : t + 1])


def test_matrices_have_std_0_02_and_no_bias() -> None:
    stack = TransformerStack(width=128, layers=1, heads=4)
    assert not [name for name, _ in stack.named_parameters() if name.endswith("bias")]
    matrices = [p for p in stack.parameters() if p.dim() == 2]
    assert len(matrices) == 4
    for matrix in matrices:
        assert matrix.std().item() == pytest.approx(0.02, rel=0.05)


def test_final_norm_is_an_option() -> None:
    with_norm = TransformerStack(width=16, layers=1, heads=2)
    without = TransformerStack(width=16, layers=1, heads=2, final_norm=False)
    assert set(dict(with_norm.named_parameters())) - set(dict(without.named_parameters())) == {"norm.weight"}


@pytest.mark.parametrize("heads", [3, 16])
def test_heads_that_do_not_fit_are_refused(heads: int) -> None:
    with pytest.raises(ValueError, match="choose width"):
        TransformerStack(width=16, layers=1, heads=heads)


@torch.no_grad()
def test_last_block_can_be_had_at_some_positions_alone() -> None:
    stack = TransformerStack(width=16, layers=2, heads=2)
    x = torch.randn(3, 6, 16)
    for start, stop in ((0, 6), (5, 6), (3, 5), (0, 2)):
        torch.testing.assert_close(stack.at(x, start, stop), stack(x)[:, start:stop])

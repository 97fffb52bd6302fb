"""Masked mixing: an independent computation, causality, initialisation."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.models import Block, GeluMLP, MaskedMixing, Stack

SHAPES = [(heads, taps) for heads in (0, 1, 4) for taps in (1, 2, 3, 4)]
every_shape = pytest.mark.parametrize(("heads", "taps"), SHAPES)


def stack_of(length: int, layers: int = 2, **options: Any) -> Stack:
    mixer = partial(MaskedMixing, **options)
    return Stack(length, width=16, layers=layers, mixer=mixer, mlp=GeluMLP, norm=nn.LayerNorm)


def convolved(mixing: MaskedMixing, x: Tensor, head: int, causal: bool) -> Tensor:
    """One head by torch's 1-D convolution: channels are positions, the kernel runs over features."""
    weight = mixing.weight_HKLL[head].permute(1, 2, 0).clone()  # (out position, in position, tap)
    if causal:
        for t in range(weight.shape[0]):
            weight[t, t + 1 :] = 0
    return F.conv1d(x, weight, mixing.bias_HL[head], padding="same")


def by_hand(block: Block, x: Tensor, heads: int, causal: bool) -> Tensor:
    width = x.shape[-1]
    normed = F.layer_norm(x, (width,), block.mixing_norm.weight, block.mixing_norm.bias)
    mixing = block.mixer
    if heads:
        size = width // heads
        mixed = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            projected = F.linear(normed, mixing.project_in.weight[part], mixing.project_in.bias[part])
            mixed.append(convolved(mixing, projected, head, causal))
        x = x + F.linear(torch.cat(mixed, -1), mixing.project_out.weight, mixing.project_out.bias)
    else:
        x = x + convolved(mixing, normed, 0, causal)
    up, _, down = block.mlp
    normed = F.layer_norm(x, (width,), block.mlp_norm.weight, block.mlp_norm.bias)
    return x + F.linear(F.gelu(F.linear(normed, up.weight, up.bias)), down.weight, down.bias)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("causal", [True, False])
@every_shape
@torch.no_grad()
def test_stack_equals_masked_convolutions(heads: int, taps: int, causal: bool) -> None:
    torch.manual_seed(0)
    stack = stack_of(6, heads=heads, taps=taps, causal=causal).double()
    x = torch.randn(3, 6, 16, dtype=torch.double)
    expected = x
    for block in stack.blocks:
        expected = by_hand(block, expected, heads, causal)
    torch.testing.assert_close(stack(x), expected)


@every_shape
@torch.no_grad()
def test_output_does_not_depend_on_later_positions(heads: int, taps: int) -> None:
    stack = stack_of(8, heads=heads, taps=taps).double()
    x = torch.randn(2, 8, 16, dtype=torch.double)
    for t in range(7):
        changed = x.clone()
        changed[:, t + 1 :] += 10
        torch.testing.assert_close(stack(changed)[:, : t + 1], stack(x)[:, : t + 1])
        assert not torch.allclose(stack(changed)[:, t + 1 :], stack(x)[:, t + 1 :])


@every_shape
@torch.no_grad()
def test_shorter_input_gives_the_prefix_of_the_longer_one(heads: int, taps: int) -> None:
    stack = stack_of(8, heads=heads, taps=taps)
    x = torch.randn(2, 8, 16)
    torch.testing.assert_close(stack(x[:, :5]), stack(x)[:, :5])


def test_mask_is_not_written_into_the_weights() -> None:
    mixing = MaskedMixing(8, 5, heads=2, taps=2)
    before = mixing.weight_HKLL.detach().clone()
    mixing(torch.randn(3, 5, 8)).sum().backward()
    assert torch.equal(mixing.weight_HKLL, before)
    assert before.triu(1).abs().sum() > 0
    assert mixing.weight_HKLL.grad.triu(1).abs().sum() == 0


def test_mixing_is_drawn_like_a_convolution_over_positions() -> None:
    torch.manual_seed(0)
    mixing = MaskedMixing(16, 64, heads=2, taps=4)
    bound = 1 / (64 * 4) ** 0.5
    for parameter in (mixing.weight_HKLL, mixing.bias_HL):
        assert parameter.abs().max() <= bound
        assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_every_linear_has_a_bias() -> None:
    linears = [module for module in stack_of(4, heads=2).modules() if isinstance(module, nn.Linear)]
    assert len(linears) == 2 * 4 and all(linear.bias is not None for linear in linears)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"heads": 3}, "divide"),
        ({"heads": -1}, "divide"),
        ({"taps": 0}, "taps=0"),
        ({"heads": 8, "taps": 3}, "taps=3"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changed: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedMixing(16, 4, **changed)


def test_input_longer_than_the_weights_is_refused() -> None:
    mixing = MaskedMixing(16, 4)
    with pytest.raises(ValueError, match="length=5"):
        mixing(torch.randn(1, 5, 16))
    state = mixing.begin(1)
    mixing.step(torch.randn(1, 4, 16), state)
    with pytest.raises(ValueError, match="length=5"):
        mixing.step(torch.randn(1, 1, 16), state)

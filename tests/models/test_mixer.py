"""The masked mixer stack: an independent computation, causality, initialisation."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from memlab.models import MixerStack
from memlab.models.mixer import MixerBlock, TokenMixing

SHAPES = [(heads, taps) for heads in (0, 1, 4) for taps in (1, 2, 3, 4)]


def convolved(mixing: TokenMixing, x: Tensor, head: int, causal: bool) -> Tensor:
    """One head by torch's 1-D convolution: channels are positions, the kernel runs over features."""
    weight = mixing.weight_HKLL[head].permute(1, 2, 0).clone()  # (out position, in position, tap)
    if causal:
        for t in range(weight.shape[0]):
            weight[t, t + 1 :] = 0
    return F.conv1d(x, weight, mixing.bias_HL[head], padding="same")


def by_hand(block: MixerBlock, x: Tensor, heads: int, causal: bool) -> Tensor:
    width = x.shape[-1]
    normed = F.layer_norm(x, (width,), block.mixing_norm.weight, block.mixing_norm.bias)
    if heads:
        mixing = block.mixing
        size = width // heads
        mixed = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            projected = F.linear(normed, mixing.project_in.weight[part], mixing.project_in.bias[part])
            mixed.append(convolved(mixing.tokens, projected, head, causal))
        x = x + F.linear(torch.cat(mixed, -1), mixing.project_out.weight, mixing.project_out.bias)
    else:
        x = x + convolved(block.mixing, normed, 0, causal)
    up, _, down = block.mlp
    normed = F.layer_norm(x, (width,), block.mlp_norm.weight, block.mlp_norm.bias)
    return x + F.linear(F.gelu(F.linear(normed, up.weight, up.bias)), down.weight, down.bias)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("heads", "taps"), SHAPES)
@torch.no_grad()
def test_stack_equals_masked_convolutions(heads: int, taps: int, causal: bool) -> None:
    torch.manual_seed(0)
    stack = MixerStack(width=16, layers=2, length=6, heads=heads, taps=taps, causal=causal).double()
    x = torch.randn(3, 6, 16, dtype=torch.double)
    expected = x
    for block in stack.blocks:
        expected = by_hand(block, expected, heads, causal)
    torch.testing.assert_close(stack(x), expected)


@pytest.mark.parametrize(("heads", "taps"), SHAPES)
@torch.no_grad()
def test_output_does_not_depend_on_later_positions(heads: int, taps: int) -> None:
    stack = MixerStack(width=16, layers=2, length=8, heads=heads, taps=taps)
    x = torch.randn(2, 8, 16)
    for t in range(8):
        changed = x.clone()
        changed[:, t + 1 :] += 10
        torch.testing.assert_close(stack(changed)[:, : t + 1], stack(x)[:, : t + 1])


@pytest.mark.parametrize(("heads", "taps"), SHAPES)
@torch.no_grad()
def test_shorter_input_gives_the_prefix_of_the_longer_one(heads: int, taps: int) -> None:
    stack = MixerStack(width=16, layers=2, length=8, heads=heads, taps=taps)
    x = torch.randn(2, 8, 16)
    torch.testing.assert_close(stack(x[:, :5]), stack(x)[:, :5])


def test_mask_is_not_written_into_the_weights() -> None:
    mixing = TokenMixing(5, heads=2, taps=2, causal=True)
    before = mixing.weight_HKLL.detach().clone()
    mixing(torch.randn(3, 5, 8)).sum().backward()
    assert torch.equal(mixing.weight_HKLL, before)
    assert before.triu(1).abs().sum() > 0
    assert mixing.weight_HKLL.grad.triu(1).abs().sum() == 0


def test_mixing_is_drawn_like_a_convolution_over_positions() -> None:
    torch.manual_seed(0)
    mixing = TokenMixing(64, heads=2, taps=4, causal=True)
    bound = 1 / (64 * 4) ** 0.5
    for parameter in (mixing.weight_HKLL, mixing.bias_HL):
        assert parameter.abs().max() <= bound
        assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_every_linear_has_a_bias_and_no_norm_ends_the_stack() -> None:
    stack = MixerStack(width=16, layers=1, length=4, heads=2)
    assert all(m.bias is not None for m in stack.modules() if isinstance(m, torch.nn.Linear))
    assert [name for name, _ in stack.named_children()] == ["blocks"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"heads": 3}, "divide"), ({"heads": -1}, "divide"), ({"taps": 0}, "taps=0"), ({"heads": 8, "taps": 3}, "taps=3")],
)
def test_shapes_that_do_not_fit_are_refused(changed: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixerStack(width=16, layers=1, length=4, **changed)


def test_input_longer_than_the_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="length=5"):
        MixerStack(width=16, layers=1, length=4)(torch.randn(1, 5, 16))


@pytest.mark.parametrize(
    ("heads", "taps", "causal"), [(0, 1, True), (4, 1, True), (2, 3, True), (0, 2, True), (4, 1, False)]
)
@torch.no_grad()
def test_last_block_can_be_had_at_some_positions_alone(heads: int, taps: int, causal: bool) -> None:
    stack = MixerStack(width=16, layers=2, length=6, heads=heads, taps=taps, causal=causal)
    x = torch.randn(3, 6, 16)
    for start, stop in ((0, 6), (5, 6), (3, 5), (0, 2)):
        torch.testing.assert_close(stack.at(x, start, stop), stack(x)[:, start:stop])

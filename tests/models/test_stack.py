"""Blocks and stacks: layers by turns, weights' size, what is computed of the last block, a user's own mixer."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memlab.models import CausalAttention, CausalLM, GeluMLP, MaskedMixing, Stack, StackDecoder, TokenMixer
from tests import tiny


class Average(TokenMixer):
    """A mixer as a user would write it: exponential moving averages with a learned decay per feature."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__(width, length)
        self.decay_D = nn.Parameter(torch.zeros(width))

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        place_T = torch.arange(x_RTD.shape[1], device=x_RTD.device)
        age_TT = place_T[:, None] - place_T
        weight_TTD = torch.sigmoid(self.decay_D) ** age_TT.clamp(min=0)[:, :, None] * (age_TT >= 0)[:, :, None]
        return torch.einsum("tsd,rsd->rtd", weight_TTD, x_RTD)[:, start:stop]


ROWS, LENGTH = 3, 8
MIXERS: dict[str, Any] = {
    **{
        f"mixing {heads} {taps}": partial(MaskedMixing, heads=heads, taps=taps)
        for heads, taps in ((0, 1), (0, 2), (4, 1), (2, 3))
    },
    "attention": partial(CausalAttention, heads=2),
    "average": Average,
    "hybrid": [partial(MaskedMixing, heads=4), partial(CausalAttention, heads=2), Average],
}
every_mixer = pytest.mark.parametrize("name", MIXERS)


def stack_of(name: str, layers: int = 3, **options: Any) -> Stack:
    settings: dict[str, Any] = {"width": 16, "mixer": MIXERS.get(name), "mlp": GeluMLP, "norm": nn.LayerNorm}
    return Stack(LENGTH, layers=layers, **settings | options)


def floats_in(state: Any) -> int:
    """Numbers in all tensors of a state."""
    if isinstance(state, Tensor):
        return state.numel()
    parts = state.values() if isinstance(state, dict) else state
    return sum(floats_in(part) for part in parts)


@every_mixer
@pytest.mark.parametrize("pieces", [[1] * LENGTH, [5, 1, 2], [LENGTH]], ids=str)
@torch.no_grad()
def test_steps_equal_one_pass(name: str, pieces: list[int]) -> None:
    stack = stack_of(name, final_norm=True).double()
    x = torch.randn(ROWS, LENGTH, 16, dtype=torch.double)
    state = stack.begin(ROWS)
    outputs = [stack.step(part, state) for part in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(outputs, dim=1), stack(x))


@every_mixer
@pytest.mark.parametrize("length", [1, 5, LENGTH])
@torch.no_grad()
def test_state_size_is_the_floats_that_are_kept(name: str, length: int) -> None:
    stack = stack_of(name)
    state = stack.begin(ROWS)
    for _ in range(length):
        stack.step(torch.randn(ROWS, 1, 16), state)
    assert floats_in(state) == ROWS * stack.state_size(length) > 0
    for block, of_layer in zip(stack.blocks, state, strict=True):
        assert floats_in(of_layer) == ROWS * block.mixer.state_size(length)


@every_mixer
@torch.no_grad()
def test_some_positions_can_be_had_alone(name: str) -> None:
    stack = stack_of(name)
    x = torch.randn(ROWS, LENGTH, 16)
    for start, stop in ((0, LENGTH), (LENGTH - 1, LENGTH), (3, 5), (0, 2)):
        torch.testing.assert_close(stack(x, start, stop), stack(x)[:, start:stop])


def test_last_block_computes_the_wanted_positions_alone() -> None:
    stack = stack_of("hybrid")
    seen: list[int] = []
    for block in stack.blocks:
        block.mlp.register_forward_hook(lambda module, args, out: seen.append(out.shape[1]))
    stack(torch.randn(ROWS, LENGTH, 16), 6, 7)
    assert seen == [LENGTH, LENGTH, 1]


@every_mixer
@torch.no_grad()
def test_output_does_not_depend_on_later_positions(name: str) -> None:
    stack = stack_of(name).double()
    x = torch.randn(ROWS, LENGTH, 16, dtype=torch.double)
    for t in range(LENGTH - 1):
        changed = x.clone()
        changed[:, t + 1 :] += 10
        torch.testing.assert_close(stack(changed)[:, : t + 1], stack(x)[:, : t + 1])
        assert not torch.allclose(stack(changed)[:, t + 1], stack(x)[:, t + 1])


def test_layers_take_the_listed_mixers_by_turns() -> None:
    kinds = [type(block.mixer) for block in stack_of("hybrid", layers=5).blocks]
    assert kinds == [MaskedMixing, CausalAttention, Average, MaskedMixing, CausalAttention]


@torch.no_grad()
def test_a_block_is_two_normed_residual_branches() -> None:
    block = stack_of("average").blocks[0]
    x = torch.randn(ROWS, LENGTH, 16)
    mixed = x + block.mixer(block.mixing_norm(x))
    torch.testing.assert_close(block(x), mixed + block.mlp(block.mlp_norm(mixed)))


def test_final_norm_is_an_option() -> None:
    with_norm, without = (stack_of("attention", final_norm=final) for final in (True, False))
    names = set(dict(with_norm.named_parameters())) - set(dict(without.named_parameters()))
    assert names == {"norm.weight", "norm.bias"}


@torch.no_grad()
def test_first_blocks_are_read_without_the_final_norm() -> None:
    stack = stack_of("hybrid", final_norm=True)
    x = torch.randn(ROWS, LENGTH, 16)
    first = stack.blocks[1](stack.blocks[0](x))
    torch.testing.assert_close(stack(x, 3, 5, read_layers=2), first[:, 3:5])
    torch.testing.assert_close(stack(x, read_layers=3), stack.blocks[2](first))


@pytest.mark.parametrize("std", [0.02, 0.3])
def test_weight_std_is_that_of_every_linear(std: float) -> None:
    torch.manual_seed(0)
    stack = stack_of("attention", layers=1, width=64, weight_std=std)
    linears = [module for module in stack.modules() if isinstance(module, nn.Linear)]
    assert len(linears) == 4
    for linear in linears:
        assert linear.weight.std().item() == pytest.approx(std, rel=0.05)


def test_a_mixer_of_ones_own_makes_a_model() -> None:
    """It trains, and decodes step by step with the state that it inherits."""
    torch.manual_seed(0)
    stack = partial(Stack, width=16, layers=2, mixer=Average, mlp=GeluMLP, norm=nn.LayerNorm)
    model = CausalLM(decoder=partial(StackDecoder, stack=stack), vocab=tiny.VOCAB, chunks=2, length=4)
    tokens = torch.randint(tiny.VOCAB, (ROWS, 2, 4))
    model(tokens).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    state = model.open(tokens[:, :1])
    steps = [model.step(token, state) for token in tokens[:, 1].split(1, dim=1)]
    torch.testing.assert_close(torch.cat(steps, dim=1), model.hidden(tokens, range(1, 2))[:, 0])


def test_a_mixer_that_reads_later_positions_cannot_decode() -> None:
    mixer = partial(MaskedMixing, causal=False)
    parts: dict[str, Any] = {"mixer": [MIXERS["attention"], mixer], "mlp": GeluMLP, "norm": nn.LayerNorm}
    stack = partial(Stack, width=16, layers=2, **parts)
    with pytest.raises(ValueError, match="step by step"):
        stack(4).begin(1)
    with pytest.raises(ValueError, match="causal=true"):
        StackDecoder(vocab=8, length=4, stack=stack)
    StackDecoder(vocab=8, length=4, stack=stack, reads_tokens=False)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mixer": []}, "at least one token mixer"),
        ({"mixer": lambda width, length: nn.Linear(width, width)}, "Linear is no token mixer"),
        ({"layers": 0}, "layers=0"),
        ({"width": 0}, "width=0"),
    ],
)
def test_choices_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stack_of("average", **changed)

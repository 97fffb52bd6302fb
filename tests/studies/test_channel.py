"""What memories pass through before they are stored."""

import pytest
import torch

from memlab.errors import UserError
from memlab.studies.channel import GaussianNoise, Quantise
from tests import tiny


@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_quantised_memories_have_so_many_values(bits: int) -> None:
    x = torch.linspace(-4, 4, 200_000).reshape(-1, 1, 4)
    stored = Quantise(bits).eval()(x)
    values = stored.unique()
    assert len(values) == 2**bits if bits < 16 else len(values) > 2**15
    assert stored.abs().max() <= 1
    assert (stored - x.tanh()).abs().max() <= 1 / (2**bits - 1) + 1e-6


def test_rounding_passes_the_gradient_of_what_was_rounded() -> None:
    x = torch.linspace(-2, 2, 40, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    Quantise(3)(x).sum().backward()
    y.tanh().sum().backward()
    assert x.grad is not None and y.grad is not None and torch.allclose(x.grad, y.grad)


def test_without_straight_through_only_evaluation_rounds() -> None:
    x = torch.linspace(-2, 2, 40)
    channel = Quantise(2, straight_through=False)
    assert torch.equal(channel.train()(x), x.tanh())
    assert len(channel.eval()(x).unique()) == 4


def test_noise_has_the_size_of_the_memory_and_is_for_training_alone() -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 2, 4000) * torch.tensor([1.0, 100.0])[:, None]
    channel = GaussianNoise(0.5)
    assert torch.equal(channel.eval()(x), x)
    noise = (channel.train()(x) - x).std(dim=(0, 2))
    assert torch.allclose(noise, torch.tensor([0.5, 50.0]), rtol=0.05)


def test_an_encoder_stores_what_its_channel_gives() -> None:
    coarse = tiny.autoencoder("mixer", compression=2, channel=Quantise(2)).eval()
    assert coarse.encoder.float_bits == coarse.float_bits == 2
    assert coarse.memory_floats == tiny.WIDTH // 2
    down, channel, _ = coarse.encoder.compression
    tokens = torch.randint(2, tiny.VOCAB, (16, tiny.LENGTH))
    stack = coarse.encoder.stack(coarse.encoder.embedding(tokens))[:, -1:]
    assert len(channel(down(stack)).unique()) <= 4
    assert tiny.autoencoder("mixer").float_bits == 32 and tiny.causal_lm("mixer").float_bits == 32


@pytest.mark.parametrize("make", [lambda: Quantise(0), lambda: Quantise(17), lambda: GaussianNoise(-1)])
def test_mistakes_are_named(make: object) -> None:
    with pytest.raises(UserError, match=r"bits=|std="):
        make()  # type: ignore[operator]

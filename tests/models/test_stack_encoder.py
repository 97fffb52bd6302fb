"""Which outputs are memories, what compression does to them, and what is frozen."""

from typing import Any

import pytest
import torch

from memlab.models import StackEncoder
from memlab.studies.channel import Quantise
from tests import tiny

TOKENS = torch.arange(2 * tiny.LENGTH).view(2, -1)
every_kind = pytest.mark.parametrize("kind", tiny.STACKS)


def encoder_of(kind: str, **options: Any) -> StackEncoder:
    return tiny.encoder(kind)(**{"vocab": tiny.VOCAB, "length": tiny.LENGTH} | options)


@every_kind
@pytest.mark.parametrize(("memories", "skip"), [(1, 0), (1, 1), (2, 0), (3, 2)])
@torch.no_grad()
def test_memories_are_the_last_outputs_before_the_skipped(kind: str, memories: int, skip: int) -> None:
    encoder = encoder_of(kind, memories=memories, skip=skip)
    outputs = encoder.stack(encoder.embedding(TOKENS))
    first = tiny.LENGTH - skip - memories
    expected = torch.stack([outputs[:, first + m] for m in range(memories)], dim=1)
    torch.testing.assert_close(encoder(TOKENS), expected)


@torch.no_grad()
def test_compression_is_two_linears_behind_the_stack() -> None:
    encoder = encoder_of("mixer", memories=2, compression=4)
    down, up = encoder.compression
    assert (down.out_features, up.out_features) == (tiny.WIDTH // 4, tiny.WIDTH)
    outputs = encoder.stack(encoder.embedding(TOKENS))
    torch.testing.assert_close(encoder(TOKENS), up(down(outputs[:, -2:])))
    assert encoder.memory_floats == 2 * tiny.WIDTH // 4


@every_kind
@torch.no_grad()
def test_memories_can_be_read_after_the_first_layers(kind: str) -> None:
    """Without the final norm; the blocks behind are there, so that another run's weights fit, but not trained."""
    whole, half = encoder_of(kind), encoder_of(kind, read_layers=1)
    half.load_state_dict(whole.state_dict())
    first = whole.stack.blocks[0](whole.embedding(TOKENS))
    torch.testing.assert_close(half(TOKENS), first[:, -1:])
    trained = {name for name, parameter in half.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in half.named_parameters() if name.startswith(("embedding", "stack.blocks.0."))}
    with torch.enable_grad():
        half(TOKENS).sum().backward()
    assert {name for name, parameter in half.named_parameters() if parameter.grad is not None} == trained


@pytest.mark.parametrize("std", [0.02, 1.0])
def test_embedding_std_is_kept(std: float) -> None:
    encoder = encoder_of("mixer", vocab=2000, embedding_std=std)
    assert encoder.embedding.weight.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize(
    ("what", "trained"), [(True, set()), ("blocks", {"embedding"}), (False, {"embedding", "stack", "compression"})]
)
def test_freezing_takes_the_gradient(what: Any, trained: set[str]) -> None:
    encoder = encoder_of("mixer", compression=2)
    encoder.freeze(what)
    assert {name.split(".")[0] for name, p in encoder.named_parameters() if p.requires_grad} == trained


@pytest.mark.parametrize(
    "changed",
    [
        {"compression": 3},
        {"skip": -1},
        {"memories": 0},
        {"memories": 6, "skip": 1},
        {"read_layers": 0},
        {"read_layers": 3},
    ],
)
def test_choices_that_do_not_fit_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"compression=3|skip=-1|memories=0|too short|read_layers="):
        encoder_of("mixer", **changed)


def test_chunk_shorter_than_its_memories_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        encoder_of("transformer", memories=3)(TOKENS[:, :2])


def test_unknown_freezing_is_refused() -> None:
    with pytest.raises(ValueError, match="true, false or blocks"):
        encoder_of("mixer").freeze("block")


@every_kind
@pytest.mark.parametrize("compression", [1, 4])
@pytest.mark.parametrize("channel", [None, Quantise(bits=2)], ids=["no channel", "quantised"])
@torch.no_grad()
def test_stored_floats_give_the_memories(kind: str, compression: int, channel: Quantise | None) -> None:
    """The floats that are stored stand before the channel, whose input can be anything."""
    encoder = encoder_of(kind, memories=2, compression=compression, channel=channel)
    stored = encoder.store(TOKENS)
    assert stored[0].numel() == encoder.memory_floats
    assert torch.equal(encoder.recall(stored), encoder(TOKENS))
    outputs = encoder.stack(encoder.embedding(TOKENS))[:, -2:]
    expected = encoder.compression[0](outputs) if compression > 1 else outputs
    torch.testing.assert_close(stored, expected)

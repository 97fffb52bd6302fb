"""Which outputs are memories, and what compression does to them."""

import pytest
import torch

from memlab.models import Encoder
from tests import tiny

TOKENS = torch.arange(2 * tiny.LENGTH).view(2, -1)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize(("memories", "skip"), [(1, 0), (1, 1), (2, 0), (3, 2)])
@torch.no_grad()
def test_memories_are_the_last_outputs_before_the_skipped(kind: str, memories: int, skip: int) -> None:
    encoder = tiny.encoder(kind, memories=memories, skip=skip)
    outputs = encoder.features(TOKENS)
    first = tiny.LENGTH - skip - memories
    expected = torch.stack([outputs[:, first + m] for m in range(memories)], dim=1)
    torch.testing.assert_close(encoder(TOKENS), expected)


@torch.no_grad()
def test_compression_is_two_linears_behind_the_features() -> None:
    encoder = Encoder(tiny.stack("mixer", tiny.LENGTH), tiny.VOCAB, memories=2, compression=4)
    down, up = encoder.compression
    assert (down.out_features, up.out_features) == (tiny.WIDTH // 4, tiny.WIDTH)
    torch.testing.assert_close(encoder(TOKENS), up(down(encoder.features(TOKENS)[:, -2:])))
    assert encoder.memory_floats == 2 * tiny.WIDTH // 4


@pytest.mark.parametrize("std", [0.02, 1.0])
def test_embedding_std_is_kept(std: float) -> None:
    encoder = Encoder(tiny.stack("mixer", tiny.LENGTH), 2000, embedding_std=std)
    assert encoder.embedding.weight.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("changed", [{"compression": 3}, {"skip": -1}, {"memories": 0}, {"memories": 6, "skip": 1}])
def test_choices_that_do_not_fit_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"compression|skip|memories|length"):
        Encoder(tiny.stack("mixer", tiny.LENGTH), tiny.VOCAB, **changed)


def test_chunk_shorter_than_its_memories_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        tiny.encoder("transformer", memories=3)(TOKENS[:, :2])

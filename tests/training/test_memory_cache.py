"""Kept memories are those the encoder makes."""

from pathlib import Path

import torch

from memlab.training.memory_cache import EmbeddingCache, embedding_digest
from tests import tiny

TOKENS = torch.randint(2, tiny.VOCAB, (6, 2 * tiny.LENGTH), generator=torch.Generator().manual_seed(0))


def cache(path: Path, width: int = tiny.WIDTH) -> EmbeddingCache:
    torch.manual_seed(0)
    model = tiny.memory_model("mixer", encoder_width=width)
    assert model.encoder is not None
    model.encoder.requires_grad_(False)
    return EmbeddingCache(path / "kept", model, windows=6, chunks=2)


def test_memories_are_made_once_and_read_again(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    expected = kept.model.embed(TOKENS.view(12, -1)).view(6, 2, 1, -1)
    calls: list[int] = []
    assert kept.model.encoder is not None
    kept.model.encoder.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    torch.testing.assert_close(kept.memories([4, 1], TOKENS[[4, 1]]), expected[[4, 1]])
    torch.testing.assert_close(kept.memories([1, 4], TOKENS[[1, 4]]), expected[[1, 4]])
    assert calls == [4]
    again = cache(tmp_path)  # another process, another stage
    torch.testing.assert_close(again.memories([4, 2], TOKENS[[4, 2]]), expected[[4, 2]])
    assert [again.made([window]) for window in range(6)] == [False, True, True, False, True, False]


def test_memories_that_a_crash_left_out_are_made_again(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    expected = kept.memories([4, 1], TOKENS[[4, 1]])
    kept.values[4] = 0
    again = cache(tmp_path)
    assert not again.made([4]) and again.made([1])
    torch.testing.assert_close(again.memories([4, 1], TOKENS[[4, 1]]), expected)


def test_the_projection_behind_them_is_trained(tmp_path: Path) -> None:
    kept = cache(tmp_path, width=8)
    kept.memories([0, 1], TOKENS[:2]).sum().backward()
    weight = kept.model.projection.weight
    assert isinstance(weight, torch.nn.Parameter) and weight.grad is not None
    assert kept.values.shape == (6, 2, 1, 8)


def test_the_digest_is_of_the_encoder_and_of_what_else_is_given() -> None:
    torch.manual_seed(0)
    one, other = tiny.memory_model("mixer"), tiny.memory_model("mixer")
    digests = {
        embedding_digest(one, ["text", 16]),
        embedding_digest(other, ["text", 16]),
        embedding_digest(one, ["text", 8]),
    }
    assert len(digests) == 3
    one.embedding.weight.data.zero_()  # the decoder's
    assert embedding_digest(one, ["text", 16]) in digests

"""Kept memories are those the encoder makes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan
from memlab.errors import UserError
from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
from memlab.training.memory_cache import MemoryCache, digest_of
from tests import tiny
from tests.conftest import smoke
from tests.training.chains import rows

TOKENS = torch.randint(2, tiny.VOCAB, (6, 2 * tiny.LENGTH), generator=torch.Generator().manual_seed(0))


def cache(path: Path, width: int = tiny.WIDTH) -> MemoryCache:
    torch.manual_seed(0)
    model = tiny.memory_model("mixer", encoder_width=width)
    assert model.encoder is not None
    model.encoder.requires_grad_(False)
    return MemoryCache(path / "kept", model, windows=6, chunks=2)


def test_memories_are_made_once_and_read_again(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    expected = kept.model.make_memories(TOKENS.view(12, -1)).view(6, 2, 1, -1)
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
    digest = digest_of(one, ["text", 16])
    assert len({digest, digest_of(other, ["text", 16]), digest_of(one, ["text", 8])}) == 3
    one.decoder.embedding.weight.data.zero_()  # type: ignore[union-attr, operator]
    assert digest_of(one, ["text", 16]) == digest


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("slots", ["fixed", "variable"])
def test_kept_memories_change_nothing_but_the_rounding(
    chain: Any, tmp_path: Path, width: int, precision: str, slots: str
) -> None:
    """Of an encoder as wide as its decoder, and wider; in both precisions that the cache is made for."""
    frozen = (
        "encoder=untrained", "objective=blank_copy", f"architecture.encoder.stack.width={width}",
        f"architecture.slots={slots}", f"trainer.precision={precision}", "scale.stages.memory.steps=3",
    )  # fmt: skip
    (plain,) = chain(*frozen, runs=tmp_path / "plain")
    (kept,) = chain(*frozen, "trainer.cache_embeddings=true", runs=tmp_path / "kept")
    assert plain.folder.fingerprint == kept.folder.fingerprint
    for job in (plain, kept):
        run_chain([job], Workload())
    tolerance = {"32-true": 1e-4, "bf16-mixed": 3e-2}[precision]
    expected, found = (
        [row["val/cross_entropy"] for row in rows(job) if "val/cross_entropy" in row] for job in (plain, kept)
    )
    assert found == pytest.approx(expected, abs=tolerance)
    assert len(list((tmp_path / "kept" / "embeddings").glob("*.values"))) == 1


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_other_precisions_are_refused_before_any_work(chain: Any, precision: str) -> None:
    with pytest.raises(UserError, match=f"trainer.precision={precision} needs false"):
        chain("encoder=frozen_autoencoder", "trainer.cache_embeddings=true", f"trainer.precision={precision}")


@pytest.mark.parametrize(("channel", "kept"), [([], True), (["channel@architecture.channel=noise"], False)])
def test_memories_behind_a_channel_are_not_kept(channel: list[str], kept: bool, corpus: Path, tmp_path: Path) -> None:
    """Noise is drawn at every step; kept memories would have the noise of the first one for good."""
    given = ("encoder=frozen_autoencoder", "objective=blank_copy", "trainer.cache_embeddings=true", *channel)
    (config,) = compose_sweep([*smoke(corpus, tmp_path), *given]).configs
    run_chain(plan(config).jobs, Workload())
    assert bool(list((tmp_path / "embeddings").glob("*.values"))) is kept

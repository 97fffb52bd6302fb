"""Uniformly random tokens in place of a text's own."""

from pathlib import Path

import numpy as np
import pytest

from memlab.data import UniformRandom, data_hash, held_out_hash, prepare_held_out
from memlab.errors import UserError
from tests.data.texts import BPE, made, text_files


def random_tokens(corpus: Path, seed: int = 0) -> UniformRandom:
    return UniformRandom(text=text_files(corpus), name="random", seed=seed)


def test_documents_keep_their_lengths_and_lose_their_tokens(corpus: Path, tmp_path: Path) -> None:
    text, random = made(text_files(corpus), BPE, tmp_path), made(random_tokens(corpus), BPE, tmp_path)
    assert random.hash != text.hash and random.token_bytes.tolist() == text.token_bytes.tolist()
    for split in ("train", "val"):
        assert np.array_equal(random.ends(split), text.ends(split))
        assert (random.tokens(split) == text.tokens(split)).mean() < 0.02
    counts = np.bincount(random.tokens("train"), minlength=random.vocab)
    assert counts[[random.blank, random.delimiter]].tolist() == [0, 0]
    expected = counts.sum() / (random.vocab - 2)
    chi_square = ((counts[2:] - expected) ** 2 / expected).sum()
    assert chi_square < random.vocab + 6 * (2 * random.vocab) ** 0.5, "all tokens are equally likely"
    follows = np.corrcoef(random.tokens("train")[:-1].astype(float), random.tokens("train")[1:].astype(float))[0, 1]
    assert abs(follows) < 0.02


def test_the_draws_are_the_same_every_time_and_depend_on_the_seed(corpus: Path, tmp_path: Path) -> None:
    one, again = (made(random_tokens(corpus), BPE, tmp_path / name).tokens("val") for name in ("a", "b"))
    other = made(random_tokens(corpus, seed=1), BPE, tmp_path / "a")
    assert np.array_equal(one, again) and not np.array_equal(one, other.tokens("val"))
    assert data_hash(random_tokens(corpus), BPE) != data_hash(random_tokens(corpus, seed=1), BPE)


def test_a_finished_model_can_be_measured_on_random_tokens(corpus: Path, tmp_path: Path) -> None:
    text, source = made(text_files(corpus), BPE, tmp_path), random_tokens(corpus)
    held_out = prepare_held_out(source, text, tmp_path, held_out_hash(source, text.hash))
    assert len(held_out.tokens("val")) == len(text.tokens("val")) and "random one" in held_out.read
    assert held_out.tokens("val").min() >= 2


def test_mistakes_are_those_of_the_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        random_tokens(tmp_path / "nowhere").content_hash()

"""Memories: what they hold, slices of them, and their file."""

import pickle
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import memlab.use.memories
from memlab.errors import UserError
from memlab.use.memories import Memories
from memlab.use.text_model import TextModel

TEXTS = ["def function_7(self):\n    return 7\n", "", "é", "value * 7 + " * 20]


@pytest.fixture
def memories(autoencoder: TextModel) -> Memories:
    return autoencoder.encode(TEXTS)


def equal(left: Memories, right: Memories) -> bool:
    values = ((getattr(left, f.name), getattr(right, f.name)) for f in fields(Memories))
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b and type(a) is type(b) for a, b in values)


def test_a_file_gives_them_back_bit_for_bit(memories: Memories, tmp_path: Path) -> None:
    memories.save(tmp_path / "a.safetensors")
    assert equal(Memories.load(tmp_path / "a.safetensors"), memories)
    assert equal(Memories.load(str(tmp_path / "a.safetensors")), memories)
    part = memories[1:3]
    part.save(tmp_path / "a.safetensors")
    assert equal(Memories.load(tmp_path / "a.safetensors"), part)


def test_slices_keep_what_belongs_to_their_chunks(memories: Memories) -> None:
    first, _, _, last = memories.chunks
    assert memories.chunks[1:3] == (0, 1) and first > 1 and last > 3
    assert equal(memories[:], replace(memories, chunks=(first, 1, last)))
    middle = memories[first - 1 : first + 3]
    assert middle.chunks == (1, 1, 2) and len(middle) == 4
    assert middle.texts == memories.texts[first - 1 : first + 3]
    assert torch.equal(middle.vectors, memories.vectors[first - 1 : first + 3])
    assert torch.equal(middle.tokens, memories.tokens[first - 1 : first + 3])
    assert middle.counts == memories.counts[first - 1 : first + 3]
    assert memories[-2:].chunks == (2,)
    assert len(memories[5:2]) == 0 and memories[5:2].chunks == ()
    assert [len(one) for one in memories] == [1] * len(memories)


def test_memories_by_text_are_those_of_each_text_alone(memories: Memories, autoencoder: TextModel) -> None:
    parts = memories.by_text()
    assert [len(part) for part in parts] == [*memories.chunks]
    for text, part in zip(TEXTS, parts, strict=True):
        if text:
            alone = autoencoder.encode(text)
            torch.testing.assert_close(part.vectors, alone.vectors)
            assert equal(replace(part, vectors=alone.vectors), alone)


@pytest.mark.parametrize("chosen", [0, slice(None, None, 2), slice(None, None, -1)])
def test_other_indices_are_refused(memories: Memories, chosen: slice) -> None:
    with pytest.raises(UserError, match="slice"):
        memories[chosen]


def damaged(kind: str, memories: Memories, path: Path) -> None:
    """Write a file that holds no memories."""
    if kind == "pickle":
        path.write_bytes(pickle.dumps(memories.texts))
    elif kind == "no safetensors":
        path.write_text("no")
    elif kind == "other tensors":
        save_file({"x": torch.zeros(2)}, path)
    elif kind == "no metadata":
        save_file({n: torch.zeros(2, 2, 2) for n in ("vectors", "tokens", "counts", "chunks")}, path)
    elif kind == "cut off":
        memories.save(path)
        path.write_bytes(path.read_bytes()[:-10])
    elif kind == "too few texts":
        replace(memories, texts=memories.texts[1:]).save(path)
    elif kind == "too many chunks":
        replace(memories, chunks=(*memories.chunks, 1)).save(path)
    elif kind == "whole numbers":
        replace(memories, vectors=memories.vectors.long()).save(path)
    elif kind == "a count too large":
        replace(memories, counts=(99, *memories.counts[1:])).save(path)


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "pickle",
        "no safetensors",
        "other tensors",
        "no metadata",
        "cut off",
        "too few texts",
        "too many chunks",
        "whole numbers",
        "a count too large",
    ],
)
def test_another_file_is_refused_with_one_message(memories: Memories, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.safetensors"
    damaged(kind, memories, path)
    with pytest.raises(UserError, match="is no file of memories") as error:
        Memories.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_write_that_fails_leaves_the_old_file(
    memories: Memories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    memories.save(path)
    before = path.read_bytes()

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memlab.use.memories, "save_file", fail)
    with pytest.raises(OSError, match="No space"):
        memories[:1].save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]

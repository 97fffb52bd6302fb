"""The split into training and held out, against the rule written out with a dictionary of all documents."""

import hashlib
import random
import tracemalloc
from pathlib import Path

import pytest

from memlab.data import Document
from memlab.data.split import SPLITS, split_documents
from memlab.errors import UserError


def expected(documents: list[Document], val: float, max_bytes: int | None) -> dict[str, list[str]]:
    first: dict[str, str] = {}
    for text, origin in documents:
        named = text if origin is None else origin
        if named:
            first.setdefault(hashlib.sha256(named.encode()).hexdigest(), text)
    chosen: list[str] = []
    for name in sorted(first):
        if max_bytes is not None and chosen and sum(len(text.encode()) for text in chosen) >= max_bytes:
            break
        chosen.append(first[name])
    held_out = min(max(1, round(val * len(chosen))), len(chosen) - 1)
    return {"val": [t for t in chosen[:held_out] if t], "train": [t for t in chosen[held_out:] if t]}


@pytest.mark.parametrize("max_bytes", [None, 1, 700, 10**6])
@pytest.mark.parametrize("origins", [False, True])
def test_the_split_is_the_rule_s(max_bytes: int | None, origins: bool, tmp_path: Path) -> None:
    draw = random.Random(0)
    texts = [f"text é {draw.randrange(120)} " + "x" * draw.randrange(30) * (i % 3) for i in range(300)]
    documents = [Document("" if draw.random() < 0.3 else text, text) if origins else Document(text) for text in texts]
    documents += [Document("", "" if origins else None)] * 2
    wanted = expected(documents, 0.2, max_bytes)
    if not all(wanted.values()):
        with pytest.raises(UserError, match="training and validation need one each"):
            split_documents(documents, tmp_path / "texts", 0.2, max_bytes)
        return
    split = split_documents(iter(documents), tmp_path / "texts", 0.2, max_bytes)
    for name in SPLITS:
        assert [text for batch in split.texts[name].batches() for text in batch] == wanted[name]
        assert split.texts[name].bytes == sum(len(text.encode()) for text in wanted[name])
    taken = sum(map(len, split.texts.values()))
    assert taken + split.equal + split.beyond + split.empty == len(documents)


def test_memory_does_not_hold_the_documents(tmp_path: Path) -> None:
    count = 20_000
    tracemalloc.start()
    try:
        stream = (Document(f"{i} " + "words " * 100) for i in range(count))
        split = split_documents(stream, tmp_path / "texts", 0.1, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(map(len, split.texts.values())) == count
    assert peak < count * 150  # bytes; a document has 600

"""Values of sources and tokenizers, and classes of a user's own."""

from pathlib import Path
from typing import Any

import pytest

from memlab.data import BytePairEncoding, Document, Source, data_hash
from memlab.errors import UserError
from tests.data.texts import made, text_files, whole_text

BAD: list[tuple[dict[str, Any], str]] = [
    ({"val": None}, "data.val=None: choose a share"),
    ({"val": 1}, "data.val=1: choose a share"),
    ({"val": float("nan")}, "data.val=nan: choose a share"),
    ({"val": "0.1"}, "data.val=0.1: choose a share"),
    ({"val": True}, "data.val=True: choose a share"),
    ({"max_bytes": 0}, "data.max_bytes=0: choose a whole number"),
    ({"max_bytes": 1.5}, "data.max_bytes=1.5: choose a whole number"),
    ({"max_bytes": "5MB"}, "data.max_bytes=5MB: choose a whole number"),
    ({"max_bytes": float("inf")}, "data.max_bytes=inf: choose a whole number"),
    ({"errors": "ignore"}, "data.errors=ignore: choose one of stop, replace"),
    ({"windows": None}, "data.windows=None: choose one of packed, padded"),
    ({"text_key": None}, "data.text_key=null: give it a value"),
    ({"name": ""}, "data.name=: give the text a name"),
]


@pytest.mark.parametrize(("change", "said"), BAD, ids=str)
def test_values_that_a_source_cannot_have_are_said(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        text_files("anywhere", **change)


@pytest.mark.parametrize("vocab", [None, 257, 300.0, "300", True])
def test_values_that_a_tokenizer_cannot_have_are_said(vocab: Any) -> None:
    with pytest.raises(UserError, match=rf"tokenizer\.vocab={vocab}: .* need a whole number of at least 258"):
        BytePairEncoding(vocab=vocab)


class Numbers(Source):
    """A source of a user's own."""

    def __init__(self, *, name: str, val: float, count: int, words: str) -> None:
        super().__init__(name=name, val=val)
        self.count = count
        self.words = words

    def content_hash(self) -> str:
        return f"{self.count} {self.words}"

    def documents(self, cache: Path) -> Any:
        return (Document(f"{self.words} {i}") for i in range(self.count))


def test_a_source_of_one_s_own_is_a_class(tmp_path: Path) -> None:
    source = Numbers(name="numbers", val=0.25, count=40, words="the number")
    prepared = made(source, BytePairEncoding(vocab=262), tmp_path)
    assert sorted(whole_text(prepared, split).count("the number") for split in ("train", "val")) == [10, 30]


class Words(BytePairEncoding):
    """A tokenizer of a user's own, with special tokens of its own."""

    blank = 7
    delimiter = 8

    def fit(self, batches: Any) -> Any:
        from tokenizers import Tokenizer, models, pre_tokenizers

        words = {word for batch in batches for text in batch for word in text.split()}
        names = [f"<{i}>" for i in range(9)] + sorted(words)
        assert len(names) >= self.vocab
        tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names[: self.vocab])}, "<0>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return tokenizer


def test_special_tokens_are_the_tokenizer_s_own(tmp_path: Path) -> None:
    source = Numbers(name="numbers", val=0.25, count=400, words="the number")
    prepared = made(source, Words(vocab=290), tmp_path)
    assert (prepared.blank, prepared.delimiter) == (7, 8)
    assert prepared.hash != data_hash(source, BytePairEncoding(vocab=290))

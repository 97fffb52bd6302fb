"""A pretrained model's own tokenizer."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from memlab.data import PretrainedTokenizer, load_tokenizer
from memlab.data.codec import write_codec
from memlab.data.pretrained import tokenizer_files
from memlab.errors import UserError

TEXT = "def été(self):\n    return 'the <|im_start|> of it'\n"


def tokenizer_of(model: Path, **more: Any) -> PretrainedTokenizer:
    files = tokenizer_files(str(model), None)
    return PretrainedTokenizer(files=files, vocab=files["vocab"], **more)


@pytest.mark.parametrize(("kind", "blank", "delimiter"), [("llama", 0, 1), ("bert", 0, 2)])
def test_the_first_two_special_tokens_hide_and_delimit(
    kind: str, blank: int, delimiter: int, request: pytest.FixtureRequest
) -> None:
    """BERT's second one stands for unknown text, which a text may have."""
    made = tokenizer_of(request.getfixturevalue(kind))
    assert (made.blank, made.delimiter) == (blank, delimiter)


def test_ids_are_those_of_the_model_and_text_is_never_special(llama: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    made = tokenizer_of(llama)
    fitted = made.fit(iter([]))
    write_codec(fitted, made, tmp_path)
    codec = load_tokenizer(tmp_path)
    ids = codec.encode(TEXT)
    plain = Tokenizer.from_file(str(llama / "tokenizer.json"))
    assert ids[:8] == plain.encode(TEXT, add_special_tokens=False).ids[:8]
    assert not {*ids} & {0, 1, 2} and codec.decode(ids) == TEXT
    assert codec.token_bytes[ids].sum() == len(TEXT.encode()) and codec.token_bytes[0] == 0


def test_nothing_is_cut_off_or_padded_and_bytes_are_those_of_what_is_left(bert: Path) -> None:
    made = tokenizer_of(bert)
    fitted = made.fit(iter([]))
    ids = fitted.encode("the cat, 42!", add_special_tokens=False).ids
    assert made.byte_lengths(fitted)[ids].sum() == len("thecat,42!")


def test_the_hash_is_that_of_the_tokenizer_and_the_special_ids(llama: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(llama, tmp_path / "copy")
    made = tokenizer_of(llama)
    assert made.content_hash() == tokenizer_of(copied).content_hash() != tokenizer_of(llama, blank=2).content_hash()
    content = json.loads((copied / "tokenizer.json").read_text())
    content["model"]["merges"].pop()
    (copied / "tokenizer.json").write_text(json.dumps(content))
    changed = tokenizer_of(copied)
    assert made.content_hash() != changed.content_hash()
    (copied / "tokenizer.json").write_text(json.dumps(content) + " ")
    changed.files["name"] = "only there"
    with pytest.raises(UserError, match="has changed: run the command again"):
        PretrainedTokenizer(files={**made.files, "tokenizer": "0"}, vocab=made.vocab).fit(iter([]))


def test_what_does_not_fit_is_refused(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer.vocab=512: the tokenizer of tiny-llama has 300 ids"):
        PretrainedTokenizer(files=tokenizer_files(str(llama), None), vocab=512)
    with pytest.raises(UserError, match=r"tokenizer.blank=300: choose an id below 300"):
        tokenizer_of(llama, blank=300)
    copied = shutil.copytree(llama, tmp_path / "copy")
    (copied / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer.json"):
        tokenizer_files(str(copied), None)

"""Docstrings and reference pages of the interpreter, and another corpus's tokens for them."""

from pathlib import Path

import pytest

from memlab.data import BytePairEncoding, PythonDocs, PythonSource, held_out_hash, prepare_held_out
from memlab.data.python_docs import texts_of as texts_in_code
from memlab.data.text_files import Found
from tests.data.texts import made, option, text_files, texts_of, whole_text

BPE = BytePairEncoding(vocab=270)

SOURCE = '''
"""A module."""
def late():
    """A function\\ud800."""
class First:
    """A class."""
    async def method(self):
        """A method,
        of two lines."""
    def again(self):
        """A class."""
    text = """No docstring."""
'''


def test_docstrings_stand_in_the_order_of_lines_each_once() -> None:
    assert texts_in_code(SOURCE) == ["A module.", "A function?.", "A class.", "A method,\nof two lines."]
    assert texts_in_code("no = = python") == []


def test_reference_pages_are_documents() -> None:
    assert texts_in_code("topics = {'if': 'The statement', 'for': 'A ' 'loop', 'bad': 3}") == [
        "The statement",
        "A loop",
    ]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A standard library of 80 files, three in four of which have docstrings; one docstring stands in all of them."""
    folder = tmp_path / "library"
    folder.mkdir()
    for i in range(80):
        docs = f'class A:\n    """Docs of file {i}. {"Words about it. " * 20}"""\n    def b():\n        """Shared."""\n'
        code = f"value_{i} = [{i}, {i + 1}]\n" * (i + 3)
        (folder / f"{i:02}.py").write_text(code + (docs if i % 4 else ""))
    (folder / "copy of 01.py").write_text((folder / "01.py").read_text())
    monkeypatch.setattr(PythonSource, "find", lambda self: Found(list(folder.iterdir())))
    return folder


@pytest.mark.parametrize("val", [0.05, 0.1, 0.3])
def test_held_out_docs_come_from_held_out_source_files(library: Path, tmp_path: Path, val: float) -> None:
    source = made(option("python_source", val=val), BPE, tmp_path / "data")
    docs = made(option("python_docs", val=val), BPE, tmp_path / "data")
    trained_on, held_out = whole_text(source, "train"), whole_text(docs, "val")
    lines = set(filter(None, held_out.splitlines()))
    assert lines and all("Docs of file" in line and line not in trained_on for line in lines)
    assert {line for line in whole_text(docs, "train").splitlines() if line in trained_on}
    assert sum(split["documents"] for split in docs.meta["splits"].values()) == 60


def test_docs_are_another_corpus_than_their_source(library: Path) -> None:
    before = option("python_docs").content_hash()
    assert before != option("python_source").content_hash()
    (library / "01.py").write_text('"""Changed."""')
    assert option("python_docs").content_hash() != before


def test_docs_are_the_same_every_time_in_whatever_order_files_are_found(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = list(option("python_docs").documents(library))
    monkeypatch.setattr(PythonSource, "find", lambda self: Found(sorted(library.iterdir(), reverse=True)))
    assert list(option("python_docs").documents(library)) == first


def test_the_interpreter_s_docs_are_english() -> None:
    texts = [text for text in texts_of(PythonDocs(name="docs", val=0.05)) if text]
    assert len(texts) > 400 and sum(map(len, texts)) > 1_500_000
    assert any('The "assert" statement\n****' in text for text in texts)
    assert sum("import " in text for text in texts) < len(texts) / 3


def test_another_corpus_s_tokens_of_held_out_text(
    library: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = made(text_files(corpus), BytePairEncoding(vocab=300), tmp_path)
    docs = option("python_docs")
    own = made(docs, BPE, tmp_path)
    capsys.readouterr()
    hash_ = held_out_hash(docs, trained.hash)
    other = prepare_held_out(docs, trained, tmp_path, hash_)
    assert "Not used: 57 documents of its training split." in capsys.readouterr().out
    assert other.hash == hash_ != own.hash
    assert whole_text(other, "val") == whole_text(own, "val")
    assert (other.path / "tokenizer.json").read_text() == (trained.path / "tokenizer.json").read_text()
    assert other.tokens("val").tolist() == trained.encode(whole_text(own, "val"))
    assert other.vocab == trained.vocab and (other.token_bytes == trained.token_bytes).all()
    assert not list(other.path.glob("train*")) and list(other.meta["splits"]) == ["val"]
    assert held_out_hash(docs, own.hash) != other.hash
    assert prepare_held_out(docs, trained, tmp_path, hash_).hash == other.hash

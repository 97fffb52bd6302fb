"""Sources that are not the user's own files: corpora of the Hub, and what an interpreter brings along."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from omegaconf import OmegaConf

from memlab.config import paths
from memlab.data.prepare import Prepared, data_hash, held_out_hash, prepare, prepare_held_out
from memlab.data.python_docs import PythonDocs, texts_of
from memlab.data.sources import content_hash, load_documents
from memlab.data.text_files import PythonSource

BPE = {"name": "bpe", "vocab": 270}
COLUMNS = {
    "fineweb_edu": {
        "text": "",
        "id": "<urn:uuid:0>",
        "dump": "CC-MAIN-2013-20",
        "url": "http://a.example",
        "file_path": "s3://a",
        "language": "en",
        "language_score": 0.9,
        "token_count": 100,
        "score": 3.5,
        "int_score": 4,
    },
    "finemath": {
        "url": "http://a.example",
        "fetch_time": 1,
        "content_mime_type": "text/html",
        "warc_filename": "a.warc.gz",
        "warc_record_offset": 1,
        "warc_record_length": 1,
        "text": "",
        "token_count": 100,
        "char_count": 400,
        "metadata": "{}",
        "score": 4.5,
        "int_score": 4,
        "crawl": "CC-MAIN-2013-20",
        "snapshot_type": "latest",
        "language": "en",
        "language_score": 0.9,
    },
}
FIRST_FILE = {"fineweb_edu": "sample/10BT/000_00000.parquet", "finemath": "finemath-4plus/train-00000-of-00002.parquet"}
SECOND_FILE = {name: file.replace("00000", "00001", 1) for name, file in FIRST_FILE.items()}
OTHER_SUBSET = {"fineweb_edu": "sample/100BT/000_00000.parquet", "finemath": "finemath-3plus/train-00000.parquet"}
NAMES = sorted(COLUMNS)


def options(name: str, **changes: Any) -> dict[str, Any]:
    """conf/data/<name>.yaml."""
    config = OmegaConf.load(paths.conf() / "data" / f"{name}.yaml")
    return OmegaConf.to_container(OmegaConf.merge(config, {"max_bytes": None}, changes))  # type: ignore[return-value]


def write_rows(name: str, file: Path, first: int, count: int) -> list[str]:
    """`count` rows of the corpus's schema; their texts are numbered from `first`."""
    texts = [f"document {i} of {name}: " + "ordinary words of a page " * 8 for i in range(first, first + count)]
    columns = {key: [value] * count for key, value in COLUMNS[name].items()} | {"text": texts}
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return texts


@pytest.fixture
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, list[str]]:
    """A repository's folder, 60 documents in two files, and another subset beside them; name, folder, texts."""
    name = request.param
    texts = write_rows(name, tmp_path / "copy" / FIRST_FILE[name], 0, 40)
    texts += write_rows(name, tmp_path / "copy" / SECOND_FILE[name], 40, 20)
    write_rows(name, tmp_path / "copy" / OTHER_SUBSET[name], 100, 5)
    return name, tmp_path / "copy", texts


both = pytest.mark.parametrize("copy", NAMES, indirect=True)


def texts_in(config: dict[str, Any], cache: Path) -> list[str]:
    return list(load_documents(config, cache)["text"])


@both
def test_a_local_copy_is_a_folder_of_the_repository_or_of_files_or_a_glob(
    copy: tuple[str, Path, list[str]], tmp_path: Path
) -> None:
    name, folder, texts = copy
    files = folder / Path(FIRST_FILE[name]).parent
    for given in (folder, files, files / "*.parquet"):
        assert texts_in(options(name, path=str(given)), tmp_path / "cache") == texts
    assert texts_in(options(name, path=str(folder / FIRST_FILE[name])), tmp_path / "cache") == texts[:40]


@both
def test_a_local_copy_is_prepared(copy: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    name, folder, texts = copy
    prepared = prepare(options(name, path=str(folder), val=0.1), BPE, tmp_path / "data")
    assert [prepared.meta["splits"][split]["documents"] for split in ("train", "val")] == [54, 6]
    whole = "".join(prepared.decode(prepared.tokens(split)) for split in ("train", "val"))
    assert len(whole) == sum(map(len, texts)) and all(text in whole for text in texts)
    assert [path.name for path in (tmp_path / "data").iterdir() if path.is_dir()] == [prepared.hash]


@both
def test_max_bytes_reads_the_front_and_nothing_behind_it(copy: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    name, folder, texts = copy
    (folder / SECOND_FILE[name]).write_bytes(b"never read")
    config = options(name, path=str(folder), max_bytes=len("".join(texts[:30])))
    assert texts_in(config, tmp_path / "cache") == texts[:30]
    with pytest.raises(ValueError, match="cannot read the parquet files"):
        texts_in({**config, "max_bytes": None}, tmp_path / "cache")


@both
@pytest.mark.parametrize("max_bytes", [None, 10**6])
def test_the_hub_is_asked_for_repository_subset_and_split(
    copy: tuple[str, Path, list[str]], max_bytes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` takes a folder with a repository's README.md for the repository."""
    name, folder, texts = copy
    config = options(name, max_bytes=max_bytes)
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
        f"    path: {OTHER_SUBSET[name]}\n- config_name: {config['subset']}\n  data_files:\n"
        f"  - split: {config['split']}\n    path: {config['files']}\n---\n"
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    assert texts_in({**config, "repository": str(folder)}, tmp_path / "cache") == texts


@pytest.mark.parametrize("max_bytes", [None, 10**6])
@pytest.mark.parametrize("name", NAMES)
def test_without_network_and_copy_it_is_said_what_to_do(
    name: str, max_bytes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    config = options(name, max_bytes=max_bytes, repository=f"memlab-tests/{name}")
    with pytest.raises(ValueError, match="Hugging Face Hub") as raised:
        prepare(config, BPE, tmp_path / "data")
    message = str(raised.value)
    download = f'`hf download memlab-tests/{name} --repo-type dataset --revision main --include "{config["files"]}"'
    assert all(part in message for part in (download, "--local-dir FOLDER", "data.path=FOLDER", "data=python_source"))
    assert not [path for path in (tmp_path / "data").iterdir() if path.is_dir()], "half a corpus was left behind"


def test_an_empty_copy_and_a_missing_column_are_said(tmp_path: Path) -> None:
    config = options("finemath", path=str(tmp_path))
    with pytest.raises(ValueError, match=r"no finemath-4plus/\*.parquet in it.*hf download HuggingFaceTB/finemath"):
        data_hash(config, BPE)
    write_rows("finemath", tmp_path / FIRST_FILE["finemath"], 0, 3)
    for max_bytes in (None, 100):
        with pytest.raises(ValueError, match=r"no column 'body'.*data.text_key.*'text'"):
            texts_in({**config, "text_key": "body", "max_bytes": max_bytes}, tmp_path / "cache")


def test_the_hash_of_a_hub_corpus_is_of_what_is_asked_and_reads_nothing() -> None:
    code = (
        "import sys; from memlab.data.prepare import data_hash\n"
        f"print(data_hash({options('fineweb_edu')}, {BPE}))\n"
        "assert not {'datasets', 'huggingface_hub', 'torch', 'pyarrow'} & set(sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    hashes = {
        data_hash(options("fineweb_edu", **changes), BPE)
        for changes in ({}, {"revision": "v1"}, {"subset": "sample-100BT"}, {"repository": "a/b"}, {"max_bytes": 9})
    }
    assert printed in hashes and len(hashes) == 5


def test_the_hash_of_a_local_copy_is_of_its_files_in_their_order(tmp_path: Path) -> None:
    config = options("fineweb_edu", path=str(tmp_path))
    for i in range(2):
        write_rows("fineweb_edu", tmp_path / f"{i}.parquet", i, 3)
    before = data_hash(config, BPE)
    assert data_hash({**config, "revision": "v1"}, BPE) == before != data_hash({**config, "path": None}, BPE)
    (tmp_path / "0.parquet").rename(tmp_path / "2.parquet")  # now the second: max_bytes would take another front
    assert data_hash(config, BPE) != before


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
    assert texts_of(SOURCE) == ["A module.", "A function?.", "A class.", "A method,\nof two lines."]
    assert texts_of("no = = python") == []


def test_reference_pages_are_documents() -> None:
    assert texts_of("topics = {'if': 'The statement', 'for': 'A ' 'loop', 'bad': 3}") == ["The statement", "A loop"]


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
    monkeypatch.setattr(PythonSource, "files", lambda self, config: list(folder.iterdir()))
    return folder


def whole_text(prepared: Prepared, split: str) -> str:
    return prepared.decode(prepared.tokens(split))


@pytest.mark.parametrize("val", [0.05, 0.1, 0.3])
def test_held_out_docs_come_from_held_out_source_files(library: Path, tmp_path: Path, val: float) -> None:
    source = prepare(options("python_source", val=val), BPE, tmp_path / "data")
    docs = prepare(options("python_docs", val=val), BPE, tmp_path / "data")
    trained_on, held_out = whole_text(source, "train"), whole_text(docs, "val")
    lines = set(filter(None, held_out.splitlines()))
    assert lines and all("Docs of file" in line and line not in trained_on for line in lines)
    assert {line for line in whole_text(docs, "train").splitlines() if line in trained_on}
    assert sum(split["documents"] for split in docs.meta["splits"].values()) == 60


def test_docs_are_another_corpus_than_their_source(library: Path) -> None:
    config = options("python_docs")
    before = content_hash(config)
    assert before != content_hash({**config, "name": "python_source"})
    (library / "01.py").write_text('"""Changed."""')
    assert content_hash(config) != before


def test_docs_are_the_same_every_time_in_whatever_order_files_are_found(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = PythonDocs().documents(options("python_docs"), tmp_path)["text"]
    monkeypatch.setattr(PythonSource, "files", lambda self, config: sorted(library.iterdir(), reverse=True))
    assert list(PythonDocs().documents(options("python_docs"), tmp_path)["text"]) == list(first)


def test_the_interpreter_s_docs_are_english(tmp_path: Path) -> None:
    texts = [text for text in PythonDocs().documents(options("python_docs"), tmp_path)["text"] if text]
    assert len(texts) > 400 and sum(map(len, texts)) > 1_500_000
    assert any('The "assert" statement\n****' in text for text in texts)
    assert sum("import " in text for text in texts) < len(texts) / 3


def test_another_corpus_s_tokens_of_held_out_text(library: Path, corpus: Path, tmp_path: Path) -> None:
    text_files = {"name": "text_files", "path": str(corpus), "text_key": "text", "max_bytes": None, "val": 0.1}
    trained = prepare(text_files, {"name": "bpe", "vocab": 300}, tmp_path)
    docs = options("python_docs")
    own = prepare(docs, BPE, tmp_path)
    other = prepare_held_out(docs, trained, tmp_path)
    assert other.hash == held_out_hash(docs, trained.hash) != own.hash
    assert whole_text(other, "val") == whole_text(own, "val")
    assert (other.path / "tokenizer.json").read_text() == (trained.path / "tokenizer.json").read_text()
    assert other.tokens("val").tolist() == trained.encode(whole_text(own, "val"))
    assert other.vocab == trained.vocab and (other.token_bytes == trained.token_bytes).all()
    assert not (other.path / "train.bin").exists() and list(other.meta["splits"]) == ["val"]
    assert held_out_hash(docs, own.hash) != other.hash
    assert prepare_held_out(docs, trained, tmp_path).hash == other.hash

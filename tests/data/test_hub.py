"""Corpora of the Hugging Face Hub: asked for there, or read from a local copy."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from memlab.data import BytePairEncoding, data_hash
from memlab.errors import UserError
from tests.data.texts import made, option, texts_of, whole_text, write_parquet

BPE = BytePairEncoding(vocab=270)
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


def write_rows(name: str, file: Path, first: int, count: int) -> list[str]:
    """`count` rows of the corpus's schema; their texts are numbered from `first`."""
    texts = [f"document {i} of {name}: " + "ordinary words of a page " * 8 for i in range(first, first + count)]
    columns = {key: [value] * count for key, value in COLUMNS[name].items()} | {"text": texts}
    write_parquet(file, **columns)
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


@pytest.mark.parametrize("name", [*NAMES, "python_source", "python_docs", "text_files"])
def test_every_option_of_data_is_a_source(name: str) -> None:
    path = {"path": "anywhere"} if name == "text_files" else {}
    source = option(name, **path)
    assert (source.name, source.windows, source.max_bytes) == (name, "packed", None)


@both
def test_a_local_copy_is_a_folder_of_the_repository_or_of_files_or_a_glob(copy: tuple[str, Path, list[str]]) -> None:
    name, folder, texts = copy
    files = folder / Path(FIRST_FILE[name]).parent
    for given in (folder, files, files / "*.parquet"):
        assert texts_of(option(name, path=str(given))) == texts
    assert texts_of(option(name, path=str(folder / FIRST_FILE[name]))) == texts[:40]


@both
def test_a_local_copy_says_what_is_not_read(copy: tuple[str, Path, list[str]]) -> None:
    name, folder, _ = copy
    (folder / "README.md").touch()
    source = option(name, path=str(folder), max_bytes=100)
    texts_of(source)
    said = " ".join(source.report())
    assert said.startswith("Read 1 .parquet. Left out, outside data.files=")
    assert f"1 .md (README.md), 1 .parquet ({Path(OTHER_SUBSET[name]).name})." in said
    assert said.endswith("Stopped at data.max_bytes=100: nothing behind was read.")


@both
def test_a_local_copy_is_prepared(copy: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    name, folder, texts = copy
    prepared = made(option(name, path=str(folder), val=0.1), BPE, tmp_path / "data")
    assert [prepared.meta["splits"][split]["documents"] for split in ("train", "val")] == [54, 6]
    whole = "".join(whole_text(prepared, split) for split in ("train", "val"))
    assert len(whole) == sum(map(len, texts)) and all(text in whole for text in texts)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [prepared.hash]


@both
def test_max_bytes_reads_the_front_and_nothing_behind_it(copy: tuple[str, Path, list[str]]) -> None:
    name, folder, texts = copy
    (folder / SECOND_FILE[name]).write_bytes(b"never read")
    assert texts_of(option(name, path=str(folder), max_bytes=len("".join(texts[:30])))) == texts[:30]
    with pytest.raises(UserError, match=r"00001.*\.parquet is damaged"):
        texts_of(option(name, path=str(folder)))


@both
def test_a_clone_without_its_large_files_is_recognised(copy: tuple[str, Path, list[str]]) -> None:
    name, folder, _ = copy
    (folder / SECOND_FILE[name]).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UserError, match=r"00001.*\.parquet is a Git LFS pointer.*git lfs pull"):
        option(name, path=str(folder), max_bytes=10).content_hash()


@both
@pytest.mark.parametrize("max_bytes", [None, 10**6])
def test_the_hub_is_asked_for_repository_subset_and_split(
    copy: tuple[str, Path, list[str]], max_bytes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` takes a folder with a repository's README.md for the repository."""
    name, folder, texts = copy
    source: Any = option(name)
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
        f"    path: {OTHER_SUBSET[name]}\n- config_name: {source.asked['subset']}\n  data_files:\n"
        f"  - split: {source.asked['split']}\n    path: {source.asked['files']}\n---\n"
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    asked = {"max_bytes": max_bytes, "repository": str(folder)}
    assert texts_of(option(name, **asked)) == texts
    with pytest.raises(UserError, match=r"column 'score' in row 1 of .* holds a number"):
        texts_of(option(name, **asked, text_key="score"))
    with pytest.raises(UserError, match=r"no column 'body' in .*: set data\.text_key to one of .*text"):
        texts_of(option(name, **asked, text_key="body"))


@pytest.mark.parametrize("max_bytes", [None, 10**6])
@pytest.mark.parametrize("name", NAMES)
def test_without_network_and_copy_it_is_said_what_to_do(
    name: str, max_bytes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    source: Any = option(name, max_bytes=max_bytes, repository=f"memlab-tests/{name}")
    with pytest.raises(UserError, match="Hugging Face Hub") as raised:
        made(source, BPE, tmp_path / "data")
    message = str(raised.value)
    files = source.asked["files"]
    download = f'`hf download memlab-tests/{name} --repo-type dataset --revision main --include "{files}"'
    assert all(part in message for part in (download, "--local-dir FOLDER", "data.path=FOLDER", "data=python_source"))
    assert not list((tmp_path / "data").iterdir()), "half a corpus was left behind"


def test_an_empty_copy_and_a_missing_column_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no finemath-4plus/\*.parquet in it.*hf download HuggingFaceTB/finemath"):
        data_hash(option("finemath", path=str(tmp_path)), BPE)
    write_rows("finemath", tmp_path / FIRST_FILE["finemath"], 0, 3)
    for max_bytes in (None, 100):
        with pytest.raises(UserError, match=r"no column 'body'.*data.text_key.* text, "):
            texts_of(option("finemath", path=str(tmp_path), text_key="body", max_bytes=max_bytes))


@pytest.mark.parametrize("key", ["repository", "subset", "split", "revision", "files"])
def test_the_hub_is_asked_for_nothing_without_a_value(key: str) -> None:
    with pytest.raises(UserError, match=f"data.{key}=null: give it a value"):
        option("finemath", **{key: None})


def test_the_hash_of_a_hub_corpus_is_of_what_is_asked_and_reads_nothing() -> None:
    source: Any = option("fineweb_edu")
    keys = {key: source.asked[key] for key in ("repository", "subset", "split", "revision")}
    code = (
        "import sys; from memlab.data import BytePairEncoding, Hub, data_hash\n"
        f"source = Hub(name='any', files='any', val=0.01, **{keys})\n"
        "print(data_hash(source, BytePairEncoding(vocab=270)))\n"
        "assert not {'datasets', 'huggingface_hub', 'torch', 'pyarrow'} & set(sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    hashes = [
        data_hash(option("fineweb_edu", **changes), BPE)
        for changes in ({}, {"revision": "v1"}, {"subset": "sample-100BT"}, {"repository": "a/b"}, {"max_bytes": 9})
    ]
    assert printed == hashes[0] and len(set(hashes)) == 5


def test_the_hash_of_a_local_copy_is_of_its_files_in_their_order(tmp_path: Path) -> None:
    for i in range(2):
        write_rows("fineweb_edu", tmp_path / f"{i}.parquet", i, 3)
    copy = {"path": str(tmp_path)}
    before = data_hash(option("fineweb_edu", **copy), BPE)
    assert data_hash(option("fineweb_edu", **copy, revision="v1"), BPE) == before
    assert data_hash(option("fineweb_edu"), BPE) != before
    (tmp_path / "0.parquet").rename(tmp_path / "2.parquet")  # now the second: max_bytes would take another front
    assert data_hash(option("fineweb_edu", **copy), BPE) != before

import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memlab.data import prepare as module
from memlab.data.prepare import Prepared, data_hash, prepare

BPE = {"name": "bpe", "vocab": 300}


def text_files(path: Path | str, **changes: Any) -> dict[str, Any]:
    return {"name": "text_files", "path": str(path), "text_key": "text", "max_bytes": None, "val": 0.1, **changes}


@pytest.fixture(scope="module")
def prepared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(text_files(corpus), BPE, tmp_path_factory.mktemp("data"))


def whole_text(prepared: Prepared, split: str) -> str:
    return prepared.decode(prepared.tokens(split))


def test_every_document_is_in_exactly_one_split(prepared: Prepared, corpus: Path) -> None:
    train, val = whole_text(prepared, "train"), whole_text(prepared, "val")
    for file in corpus.iterdir():
        assert (file.read_text() in train) != (file.read_text() in val)
    assert prepared.meta["splits"]["val"]["documents"] == 6


def test_tokens_decode_to_the_text_and_their_bytes_add_up(prepared: Prepared, corpus: Path) -> None:
    size = sum(file.stat().st_size for file in corpus.iterdir())
    assert sum(prepared.token_bytes[prepared.tokens(split)].sum() for split in ("train", "val")) == size
    assert len(prepared.token_bytes) == prepared.vocab == 300


def test_special_tokens_have_no_bytes_and_text_never_becomes_one(prepared: Prepared) -> None:
    assert prepared.decode([0, 1]) == "<blank><delimiter>"
    assert prepared.token_bytes[:2].tolist() == [0, 0]
    ids = prepared.encode("a <blank> é")
    assert 0 not in ids and prepared.decode(ids) == "a <blank> é"


def test_tokens_are_read_only_16_bit_memory_maps(prepared: Prepared) -> None:
    tokens = prepared.tokens("train")
    assert isinstance(tokens, np.memmap) and tokens.dtype == np.uint16
    with pytest.raises(ValueError):
        tokens[0] = 1


def test_the_tokenizer_knows_the_training_split_only(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i}.txt").write_text(f"{i} " + "ordinary words here " * 20)
    first = prepare(text_files(folder), {"name": "bpe", "vocab": 270}, tmp_path / "a")
    held_out = whole_text(first, "val").split(" ")[0]
    # A document that stays held out learns a word: the tokenizer must not see it.
    file = folder / f"{held_out}.txt"
    for suffix in range(500):
        file.write_text(f"{held_out} " + "zyxwv" * 200 + str(suffix))
        second = prepare(text_files(folder), {"name": "bpe", "vocab": 270}, tmp_path / "b")
        if "zyxwv" in whole_text(second, "val"):
            break
    assert "zyxwv" in whole_text(second, "val")
    assert (first.path / "tokenizer.json").read_text() == (second.path / "tokenizer.json").read_text()


def test_a_second_call_reads_the_cache(prepared: Prepared, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> None:
        raise AssertionError("prepared again")

    monkeypatch.setattr(module, "_make", forbidden)
    assert prepare(text_files(corpus), BPE, prepared.path.parent).hash == prepared.hash


def test_the_hash_follows_the_text_and_not_the_names_of_files(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in corpus.iterdir():
        (copy / f"renamed-{file.name}").write_bytes(file.read_bytes())
    assert data_hash(text_files(copy), BPE) == data_hash(text_files(corpus), BPE)
    next(copy.iterdir()).write_text("another text")
    assert data_hash(text_files(copy), BPE) != data_hash(text_files(corpus), BPE)
    assert data_hash(text_files(corpus, val=0.2), BPE) != data_hash(text_files(corpus), BPE)


def test_formats_hold_the_same_documents(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    texts = [f"document {i}\n" + "some words to merge, " * 10 for i in range(20)]
    for name in ("md", "jsonl", "parquet"):
        (tmp_path / name).mkdir()
    for i, text in enumerate(texts):
        (tmp_path / "md" / f"{i}.md").write_text(text)
    (tmp_path / "jsonl" / "all.jsonl").write_text("".join(json.dumps({"body": t, "n": 1}) + "\n" for t in texts))
    pyarrow.parquet.write_table(pyarrow.table({"body": texts}), tmp_path / "parquet" / "all.parquet")
    bpe = {"name": "bpe", "vocab": 262}
    found = [
        prepare(text_files(tmp_path / name, text_key="body"), bpe, tmp_path / "data").tokens("train").tolist()
        for name in ("md", "jsonl", "parquet")
    ]
    assert found[0] == found[1] == found[2]
    prepare(text_files(tmp_path / "jsonl" / "*.jsonl", text_key="body"), bpe, tmp_path / "data")
    with pytest.raises(ValueError, match=r"no column 'text'.*body"):
        prepare(text_files(tmp_path / "jsonl"), bpe, tmp_path / "data")


def test_max_bytes_takes_some_documents(corpus: Path, tmp_path: Path) -> None:
    prepared = prepare(text_files(corpus, max_bytes=20_000), {"name": "bpe", "vocab": 270}, tmp_path)
    sizes = [split["bytes"] for split in prepared.meta["splits"].values()]
    assert 20_000 <= sum(sizes) < 30_000


def test_mistakes_have_one_clear_message(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        data_hash(text_files(tmp_path / "missing"), BPE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no text"):
        data_hash(text_files(tmp_path / "empty"), BPE)
    with pytest.raises(ValueError, match="need 258"):
        data_hash(text_files(corpus), {"name": "bpe", "vocab": 257})
    with pytest.raises(ValueError, match=r"tokenizer.vocab=20000.*at most \d+"):
        prepare(text_files(corpus), {"name": "bpe", "vocab": 20_000}, tmp_path / "data")
    assert not [path for path in (tmp_path / "data").iterdir() if path.is_dir()], "half a corpus was left behind"
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.txt").write_text("one document")
    with pytest.raises(ValueError, match="training and validation need one each"):
        prepare(text_files(tmp_path / "one"), BPE, tmp_path / "data")


def _prepare_and_count(corpus: str, root: str, made: Any) -> None:
    original = module._make

    def counted(*arguments: Any) -> None:
        with made.get_lock():
            made.value += 1
        original(*arguments)

    module._make = counted
    prepare(text_files(corpus), BPE, Path(root))


def test_two_processes_prepare_once(corpus: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    made = context.Value("i", 0)
    processes = [context.Process(target=_prepare_and_count, args=(str(corpus), str(tmp_path), made)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert made.value == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [data_hash(text_files(corpus), BPE)]

"""Text to token arrays, once: split by document, a tokenizer of the training split, memory-mapped files.

<root>/<hash>/  tokenizer.json  train.bin  val.bin  token_bytes.npy  meta.json
A corpus in another corpus's tokens (`prepare_held_out`) is the same without train.bin.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from memlab.data.sources import PLACES, content_hash, load_documents
from memlab.errors import UserError
from memlab.progress import Bar, Bars
from memlab.storage.files import read_json, write_atomic, write_json
from memlab.storage.lock import locked

if TYPE_CHECKING:
    from datasets import Dataset
    from tokenizers import Tokenizer

DATA_VERSION = 1  # raise it when a change of this file changes tokens
SPECIALS = ("<blank>", "<delimiter>")
BLANK, DELIMITER = 0, 1
SMALLEST_VOCAB = 256 + len(SPECIALS)
SPLITS = ("train", "val")
BATCH = 64  # documents tokenised at a time

Config = Mapping[str, Any]


class Prepared:
    """A corpus as tokens. Special tokens have ids `blank` and `delimiter`, and no bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hash = path.name
        self.meta: dict[str, Any] = read_json(path / "meta.json")
        self.vocab: int = self.meta["vocab"]
        self.blank = BLANK
        self.delimiter = DELIMITER
        self.token_bytes: np.ndarray = np.load(path / "token_bytes.npy")
        self._tokenizer: Tokenizer | None = None

    def tokens(self, split: str) -> np.ndarray:
        """All tokens of a split, documents one after another, as a read-only memory map."""
        return np.memmap(self.path / f"{split}.bin", dtype=self.meta["dtype"], mode="r")

    @property
    def tokenizer(self) -> "Tokenizer":
        if self._tokenizer is None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(self.path / "tokenizer.json"))
            _text_is_never_special(self._tokenizer)
        return self._tokenizer

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=False)
        return text


def check_tokenizer(tokenizer: Config) -> None:
    """Raises UserError for a vocabulary that cannot hold the bytes and the special tokens."""
    if tokenizer["vocab"] < SMALLEST_VOCAB:
        raise UserError(
            f"tokenizer.vocab={tokenizer['vocab']}: 256 bytes and {len(SPECIALS)} special tokens need {SMALLEST_VOCAB}"
        )


def data_hash(data: Config, tokenizer: Config) -> str:
    """12 hexadecimal digits of what makes the tokens: the text itself, its split, the tokenizer. No heavy imports."""
    check_tokenizer(tokenizer)
    return _hash(data, dict(tokenizer))


def held_out_hash(data: Config, tokenizer_of: str) -> str:
    """The hash of `data` in the tokens of a corpus that has the hash `tokenizer_of`. No heavy imports."""
    return _hash(data, {"of": tokenizer_of})


def _hash(data: Config, tokenizer: dict[str, Any]) -> str:
    if not 0 < data["val"] < 1:
        raise UserError(f"data.val={data['val']}: choose a share between 0 and 1")
    chosen = {key: value for key, value in data.items() if key not in PLACES}
    text = json.dumps([DATA_VERSION, content_hash(data), chosen, tokenizer], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def prepare(data: Config, tokenizer: Config, root: Path) -> Prepared:
    """The prepared corpus under `root`, made now unless it is there. Two processes at once: one makes it, one waits.

    Raises UserError for a source without text and a vocabulary larger than the text supports.
    """
    return _prepare(data, tokenizer, root / data_hash(data, tokenizer))


def prepare_held_out(data: Config, tokenizer_of: Prepared, root: Path) -> Prepared:
    """The split `val` alone of `data`, in the tokens of another corpus: text to evaluate the other's models on.

    Raises UserError for a source without text.
    """
    return _prepare(data, tokenizer_of, root / held_out_hash(data, tokenizer_of.hash))


def _prepare(data: Config, tokenizer: Config | Prepared, final: Path) -> Prepared:
    made = (final / "meta.json").is_file
    if not made():
        waiting = "another process prepares the same text: waiting for it"
        with locked(final.with_name(f".{final.name}.lock"), waiting, until=made):
            if not made():
                _make(data, tokenizer, final)
    return Prepared(final)


def _make(data: Config, given: Config | Prepared, final: Path) -> None:
    """`given`: how to train a tokenizer, or the corpus that has one.

    Everything is written into a folder beside `final`, which is then renamed: it is there whole or not at all.
    """
    temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}-"))
    try:
        with Bars(after=2.0) as bars:
            bar = bars.bar(f"preparing {data['name']}", total=4.0)
            documents = load_documents(data, temporary / "datasets")
            bar.update(1.0, "splitting by document")
            splits = _split(documents, data["val"], data["max_bytes"])
            if isinstance(given, Prepared):
                tokenizer = given.tokenizer
                del splits["train"]
            else:
                bar.update(1.2, "training the tokenizer")
                tokenizer = _train_tokenizer(splits["train"], given["vocab"])
            write_atomic(temporary / "tokenizer.json", tokenizer.to_str(pretty=True).encode())
            bar.update(2.0, "tokenising")
            meta = _tokenise(splits, tokenizer, temporary, bar)
        del documents, splits  # they map files of the folder that goes
        shutil.rmtree(temporary / "datasets", ignore_errors=True)  # not every source has a copy there
        np.save(temporary / "token_bytes.npy", _token_bytes(tokenizer))
        write_json(temporary / "meta.json", {"source": data["name"], "vocab": tokenizer.get_vocab_size(), **meta})
        temporary.chmod(0o755)
        if not (final / "meta.json").is_file():  # or another has made it, while this process was taken for dead
            shutil.rmtree(final, ignore_errors=True)  # what an older version left without a meta.json
            temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _split(documents: "Dataset", val: float, max_bytes: int | None) -> dict[str, "Dataset"]:
    """Documents in the order of their origin's hash, up to `max_bytes`; those with the lowest hashes are held out.

    A document is its own origin where there is no column `origin` (memlab/data/source.py).
    """
    key = "origin" if "origin" in documents.column_names else "text"
    hashed: dict[str, tuple[int, int]] = {}  # the same text twice is one document: it must not stand in both splits
    index = 0
    for rows in documents.iter(BATCH):
        for origin, text in zip(rows[key], rows["text"], strict=True):
            if origin:
                name = hashlib.sha256(origin.encode(errors="replace")).hexdigest()
                hashed.setdefault(name, (index, len(text.encode(errors="replace"))))
            index += 1
    chosen: list[str] = []
    size = 0
    for name in sorted(hashed):
        if max_bytes is not None and chosen and size >= max_bytes:
            break
        chosen.append(name)
        size += hashed[name][1]
    held_out = min(max(1, round(val * len(chosen))), max(0, len(chosen) - 1))
    names = {"val": chosen[:held_out], "train": chosen[held_out:]}
    rows_of = {split: [hashed[name][0] for name in names[split] if hashed[name][1]] for split in SPLITS}
    if not all(rows_of.values()):
        raise UserError(
            f"{sum(map(len, rows_of.values()))} document(s) with text: training and validation need one each. Take more"
            " text (data.max_bytes), cut it into several files, or write .jsonl with a document per line"
        )
    texts = documents.select_columns(["text"])
    return {split: texts.select(rows) for split, rows in rows_of.items()}


def _texts(documents: "Dataset") -> Iterator[str]:
    for rows in documents.iter(BATCH):
        yield from rows["text"]


def _train_tokenizer(documents: "Dataset", vocab: int) -> "Tokenizer":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(documents), trainer, length=len(documents))
    reached = tokenizer.get_vocab_size()
    if reached < vocab:
        raise UserError(
            f"tokenizer.vocab={vocab} is larger than this text supports: its pairs are used up at {reached}."
            f" Choose at most {reached}, or more text"
        )
    assert [tokenizer.token_to_id(token) for token in SPECIALS] == [BLANK, DELIMITER]
    _text_is_never_special(tokenizer)
    return tokenizer


def _text_is_never_special(tokenizer: "Tokenizer") -> None:
    """A document that contains "<blank>" has those seven characters, not the special token. Not kept in the file."""
    tokenizer.encode_special_tokens = True


def _tokenise(splits: dict[str, "Dataset"], tokenizer: "Tokenizer", folder: Path, bar: Bar) -> dict[str, Any]:
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    total = sum(len(documents) for documents in splits.values())
    done = 0
    meta: dict[str, Any] = {"dtype": np.dtype(dtype).name, "splits": {}}
    for split, documents in splits.items():
        tokens = size = 0
        with (folder / f"{split}.bin").open("wb") as file:
            for rows in documents.iter(BATCH):
                for encoding in tokenizer.encode_batch_fast(rows["text"]):
                    tokens += len(encoding.ids)
                    file.write(np.asarray(encoding.ids, dtype).tobytes())
                size += sum(len(text.encode(errors="replace")) for text in rows["text"])
                done += len(rows["text"])
                bar.update(2.0 + 2.0 * done / total, "tokenising")
        meta["splits"][split] = {"documents": len(documents), "bytes": size, "tokens": tokens}
    return meta


def _token_bytes(tokenizer: "Tokenizer") -> np.ndarray:
    """Bytes of each token id (V,): in byte-level BPE a token is written with one character per byte."""
    names = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    return np.array([0 if name in SPECIALS else len(str(name)) for name in names], dtype=np.int32)

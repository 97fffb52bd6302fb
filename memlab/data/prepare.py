"""Text to token arrays, once: split by document, a tokenizer of the training split, memory-mapped files.

<root>/<hash>/
    train.bin  val.bin              token ids, documents one after another
    train.ends.npy  val.ends.npy    where each document ends, in tokens
    meta.json                       {"source", "vocab", "dtype", "windows", "splits", "read"}
    tokenizer.json  token_bytes.npy  special_tokens.json    (memlab/data/codec.py)

A corpus in another corpus's tokens (`prepare_held_out`) is the same without the training split.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlab.data.codec import TOKEN_BYTES, TextCodec, Tokenizer, text_is_never_special, write_codec
from memlab.data.reading import size
from memlab.data.source import Document, Source
from memlab.data.split import Split, Texts, split_documents
from memlab.errors import UserError
from memlab.progress import Bar, Bars, console
from memlab.storage.files import read_json, write_json
from memlab.storage.lock import locked

if TYPE_CHECKING:
    import numpy
    import tokenizers

DATA_VERSION = 2  # raise it when a change of this package changes tokens or files


class Prepared(TextCodec):
    """A corpus as tokens, and its tokenizer. `read`: the line on what was read and left out when it was made."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.hash = self.path.name
        self.meta: dict[str, Any] = read_json(self.path / "meta.json")
        self.windows: str = self.meta["windows"]
        self.read: str = self.meta["read"]

    def tokens(self, split: str) -> "numpy.ndarray":
        """Return all tokens of a split, documents one after another, as a read-only memory map (N,).

        Raises UserError if the file is not as long as it was made.
        """
        import numpy

        file, dtype = self.path / f"{split}.bin", numpy.dtype(self.meta["dtype"])
        count = self.meta["splits"][split]["tokens"]
        if file.stat().st_size != count * dtype.itemsize:
            raise UserError(f"{file} is damaged: delete the folder {self.path}, the next command makes it again")
        return numpy.memmap(file, dtype, "r")

    def ends(self, split: str) -> "numpy.ndarray":
        """Return where each document of a split ends, in tokens from the front, as a memory map (documents,)."""
        import numpy

        ends: numpy.ndarray = numpy.load(self.path / f"{split}.ends.npy", mmap_mode="r")
        return ends


def data_hash(source: Source, tokenizer: Tokenizer) -> str:
    """Return 12 hexadecimal digits of what makes the tokens: the text, its split, the tokenizer. No heavy imports.

    It reads the text: ask for it once and hand it on. Raises UserError for a source without text.
    """
    return _hash(source, [type(tokenizer).__name__, tokenizer.content_hash()])


def held_out_hash(source: Source, tokens_of: str) -> str:
    """Return the hash of a text in the tokens of a corpus that has the hash `tokens_of`. No heavy imports."""
    return _hash(source, ["tokens of", tokens_of])


def _hash(source: Source, tokenizer: list[str]) -> str:
    text = [type(source).__name__, source.content_hash(), source.val, source.max_bytes, source.windows]
    return hashlib.sha256(json.dumps([DATA_VERSION, text, tokenizer]).encode()).hexdigest()[:12]


def prepare(source: Source, tokenizer: Tokenizer, root: Path, hash_: str) -> Prepared:
    """Return the prepared corpus `root`/`hash_`, made now unless it is there.

    hash_: `data_hash(source, tokenizer)`. Two processes at once: one makes it, the other waits. Raises UserError for
    text that cannot be read, for a vocabulary larger than the text supports, and for text that changed since the hash.
    """
    return _prepare(source, tokenizer, root / hash_, lambda: data_hash(source, tokenizer))


def prepare_held_out(source: Source, tokens_of: Prepared, root: Path, hash_: str) -> Prepared:
    """Return the held-out split alone of a text, in the tokens of another corpus: to evaluate the other's models on.

    hash_: `held_out_hash(source, tokens_of.hash)`. Raises UserError as `prepare` does.
    """
    return _prepare(source, tokens_of, root / hash_, lambda: held_out_hash(source, tokens_of.hash))


def _prepare(source: Source, codec: Tokenizer | Prepared, final: Path, hash_now: Callable[[], str]) -> Prepared:
    made = (final / "meta.json").is_file
    if made():
        os.utime(final)  # `memlab.runs gc` spares a text that a run is about to name
    else:
        waiting = "another process prepares the same text: waiting for it"
        with locked(final.with_name(f".{final.name}.lock"), waiting, until=made):
            if not made():
                # Costs nothing in the process that made the hash; a job of a cluster may start days later.
                if hash_now() != final.name:
                    raise UserError(f"the text of data={source.name} has changed: run the command again")
                _make(source, codec, final)
    return Prepared(final)


def _make(source: Source, codec: Tokenizer | Prepared, final: Path) -> None:
    """Write everything into a folder beside `final`, then rename it: it is there whole or not at all.

    codec: how to make a tokenizer, or the corpus that has one.
    """
    temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}-"))
    try:
        with Bars(after=2.0) as bars:
            bar = bars.bar(f"preparing {source.name}", total=4.0)
            documents = _noted(source.documents(temporary / "cache"), bar)
            split = split_documents(documents, temporary / "texts", source.val, source.max_bytes)
            texts = split.texts
            if isinstance(codec, Prepared):
                tokenizer, texts = codec.tokenizer, {"val": texts["val"]}
            else:
                bar.update(1.2, "training the tokenizer")
                tokenizer = codec.fit(texts["train"].batches())
                text_is_never_special(tokenizer)
                assert tokenizer.get_vocab_size() == codec.vocab
            write_codec(tokenizer, codec, temporary)
            bar.update(2.0, "tokenising")
            meta = _tokenise(texts, tokenizer, source, temporary, bar)
        line = _line(source, split, list(texts))
        (temporary / "texts").unlink()
        shutil.rmtree(temporary / "cache", ignore_errors=True)  # not every source needs one
        about = {"source": source.name, "vocab": codec.vocab, "windows": source.windows, **meta, "read": line}
        write_json(temporary / "meta.json", about)
        temporary.chmod(0o755)
        if not (final / "meta.json").is_file():  # or another has made it, while this process was taken for dead
            shutil.rmtree(final, ignore_errors=True)  # what an older version left without a meta.json
            temporary.rename(final)
        console.print(line, markup=False)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _noted(documents: Iterator[Document], bar: Bar) -> Iterator[Document]:
    """Show how many documents were read: how many there are is not known."""
    for number, document in enumerate(documents):
        if number % 1000 == 0:
            bar.update(0.0, f"reading, {number:,} documents")
        yield document


def _line(source: Source, split: Split, used: list[str]) -> str:
    """Return what was read and what was left out, and why."""
    names = {"train": "for training", "val": "held out"}
    counts = [f"{len(split.texts[key]):,} documents ({size(split.texts[key].bytes)}) {names[key]}" for key in used]
    unused = [] if "train" in used else [f"Not used: {len(split.texts['train']):,} documents of its training split."]
    parts = [f"{source.name}: {', '.join(counts)}.", *source.report(), *split.sentences(source.max_bytes), *unused]
    return " ".join(parts)


def _tokenise(
    texts: dict[str, Texts], tokenizer: "tokenizers.Tokenizer", source: Source, folder: Path, bar: Bar
) -> dict[str, Any]:
    import numpy

    drawn_from = numpy.load(folder / TOKEN_BYTES).nonzero()[0]
    dtype = numpy.uint16 if tokenizer.get_vocab_size() <= 2**16 else numpy.uint32
    total = sum(map(len, texts.values()))
    done = 0
    splits: dict[str, Any] = {}
    for split, documents in texts.items():
        ends = numpy.zeros(len(documents), numpy.int64)
        tokens = row = 0
        with (folder / f"{split}.bin").open("wb") as file:
            for batch in documents.batches():
                for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                    tokens += len(encoding.ids)
                    file.write(source.replaced(numpy.asarray(encoding.ids, dtype), drawn_from).tobytes())
                    ends[row] = tokens
                    row += 1
                bar.update(2.0 + 2.0 * (done + row) / total, "tokenising")
            file.flush()
            os.fsync(file.fileno())
        done += row
        numpy.save(folder / f"{split}.ends.npy", ends)
        splits[split] = {"documents": len(documents), "bytes": documents.bytes, "tokens": tokens}
    return {"dtype": numpy.dtype(dtype).name, "splits": splits}

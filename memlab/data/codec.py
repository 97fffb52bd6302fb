"""Text to token ids and back: what a tokenizer is, and the three files that keep a trained one.

tokenizer.json      the tokenizer, as the library `tokenizers` writes it
token_bytes.npy     bytes of text that each token id stands for, (V,) int32; 0 for special tokens
special_tokens.json {"vocab", "blank", "delimiter"}: number of ids, and the ids of the special tokens
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlab.errors import UserError
from memlab.storage.files import read_json, write_atomic, write_json

if TYPE_CHECKING:
    import numpy
    import tokenizers

TOKENIZER, TOKEN_BYTES, SPECIAL_TOKENS = "tokenizer.json", "token_bytes.npy", "special_tokens.json"
CODEC_FILES = (TOKENIZER, TOKEN_BYTES, SPECIAL_TOKENS)


class Tokenizer(ABC):
    """How a tokenizer is made. One option of the group `tokenizer`; one of your own is a subclass and a YAML.

    vocab: number of token ids, special tokens included. blank, delimiter: ids of two special tokens that no text
    contains. Keep the constructor free of heavy imports: a dry run builds the tokenizer as well.
    """

    vocab: int
    blank: int
    delimiter: int

    @abstractmethod
    def content_hash(self) -> str:
        """Return a hash of everything that affects the token ids of a given text. No heavy imports."""

    @abstractmethod
    def fit(self, batches: Iterator[list[str]]) -> "tokenizers.Tokenizer":
        """Return the tokenizer, trained on the texts of the training split if it is trained at all.

        Its `get_vocab_size()` is `vocab`. Raises UserError if these texts do not support it.
        """

    @abstractmethod
    def byte_lengths(self, tokenizer: "tokenizers.Tokenizer") -> "numpy.ndarray":
        """Return the bytes of text that each id of a fitted tokenizer stands for: (V,) int32, 0 for special tokens."""


class TextCodec:
    """A trained tokenizer, read from a folder with its three files: a run folder or a prepared corpus.

    Raises UserError for a folder without them.
    """

    vocab: int  # number of token ids, V
    blank: int  # id of the special token that hides a token
    delimiter: int  # id of the special token between two parts of a sequence
    token_bytes: "numpy.ndarray"  # (V,) int32

    def __init__(self, path: Path) -> None:
        import numpy

        self.path = Path(path)
        missing = [name for name in CODEC_FILES if not (self.path / name).is_file()]
        if missing:
            raise UserError(f"{self.path} holds no tokenizer ({', '.join(missing)} missing): give a run's folder")
        special: dict[str, Any] = read_json(self.path / SPECIAL_TOKENS)
        self.vocab, self.blank, self.delimiter = (special[key] for key in ("vocab", "blank", "delimiter"))
        self.token_bytes = numpy.load(self.path / TOKEN_BYTES)
        self._tokenizer: tokenizers.Tokenizer | None = None

    @property
    def tokenizer(self) -> "tokenizers.Tokenizer":
        """Return the library's object, loaded when first asked for."""
        if self._tokenizer is None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(self.path / TOKENIZER))
            text_is_never_special(self._tokenizer)
        return self._tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text. No text becomes a special token."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids. Special tokens are shown by name; U+FFFD for bytes that are not UTF-8."""
        text: str = self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=False)
        return text

    def export(self, folder: Path) -> None:
        """Copy the tokenizer's files into a folder, each of them whole or not at all."""
        for name in CODEC_FILES:
            write_atomic(folder / name, (self.path / name).read_bytes())


def load_tokenizer(folder: Path) -> TextCodec:
    """Return the tokenizer of a run folder; neither its corpus nor its config is needed. Raises UserError."""
    return TextCodec(folder)


def write_codec(tokenizer: "tokenizers.Tokenizer", made_by: Tokenizer | TextCodec, folder: Path) -> None:
    """Write a tokenizer's three files into a folder.

    made_by: the specification that fitted it, or the codec that it belongs to.
    """
    import numpy

    if isinstance(made_by, TextCodec):
        made_by.export(folder)
        return
    write_atomic(folder / TOKENIZER, tokenizer.to_str(pretty=True).encode())
    numpy.save(folder / TOKEN_BYTES, made_by.byte_lengths(tokenizer))
    special = {"vocab": made_by.vocab, "blank": made_by.blank, "delimiter": made_by.delimiter}
    write_json(folder / SPECIAL_TOKENS, special)


def text_is_never_special(tokenizer: "tokenizers.Tokenizer") -> None:
    """Make "<blank>" in a text seven characters, not the special token. The tokenizer's file does not keep this."""
    tokenizer.encode_special_tokens = True

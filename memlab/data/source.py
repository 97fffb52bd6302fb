"""What a source of documents is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from memlab.errors import UserError

if TYPE_CHECKING:
    import numpy

WINDOWS = ("packed", "padded")


class Document(NamedTuple):
    """A text, and the text it was taken out of, if there is one.

    Documents are split into training and held out by the hash of their origin, so that two corpora with the same
    origins hold out the same ones. A document without an origin is its own.
    """

    text: str
    origin: str | None = None


class Source(ABC):
    """Where documents come from. One option of the group `data`; a source of your own is a subclass and a YAML.

    name: the text's name in messages and tables; it does not affect the tokens.
    val: share of the documents that is held out, between 0 and 1.
    max_bytes: about how many bytes of text to take; None takes all of it.
    windows: `packed` (documents one after another, a window may span two) or `padded` (a window is the front of one
    document, filled with blanks).

    Keep the constructor free of work and of heavy imports: a dry run builds the source as well.
    Raises UserError for a value that it cannot have.
    """

    def __init__(self, *, name: str, val: float, max_bytes: float | None = None, windows: str = "packed") -> None:
        if not isinstance(name, str) or not name:
            raise UserError(f"data.name={name}: give the text a name")
        if not _is_number(val) or not 0 < val < 1:
            raise UserError(f"data.val={val}: choose a share between 0 and 1")
        if max_bytes is not None and (not _is_number(max_bytes) or max_bytes < 1 or max_bytes % 1):
            raise UserError(f"data.max_bytes={max_bytes}: choose a whole number of at least 1, or null for all text")
        require_choice("data.windows", windows, WINDOWS)
        self.name = name
        self.val = float(val)
        self.max_bytes = None if max_bytes is None else int(max_bytes)
        self.windows = windows

    @abstractmethod
    def content_hash(self) -> str:
        """Return a hash of the text and of every option that affects the documents, wherever the text lies.

        It is asked for by every command, a dry run included: no heavy imports. Raises UserError if there is no text.
        """

    @abstractmethod
    def documents(self, cache: Path) -> Iterator[Document]:
        """Yield the documents. Empty ones are left out after the split.

        cache: a folder for temporary files; it is removed afterwards. Raises UserError for text that cannot be read,
        with what to do.
        """

    def replaced(self, ids: "numpy.ndarray", drawn_from: "numpy.ndarray") -> "numpy.ndarray":
        """Return what stands in the token arrays for a document's ids (n,); by default these ids.

        drawn_from: the ids of all tokens that stand for text.
        """
        return ids

    def report(self) -> list[str]:
        """Return sentences on what the last `documents` read and left out, and why."""
        return []


def require_choice(key: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise UserError unless `value` is one of `choices`."""
    if value not in choices:
        raise UserError(f"{key}={value}: choose one of {', '.join(choices)}")


def require_text(key: str, value: Any) -> str:
    """Return `value`. Raise UserError unless it is a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise UserError(f"{key}={'null' if value is None else value}: give it a value, {key}=...")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) != float("inf")

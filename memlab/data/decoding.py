"""Bytes to text: byte-order marks, bytes that are not UTF-8, values that are not text."""

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memlab.data.reading import Reading, shown, suffix_of
from memlab.errors import UserError

ERRORS = ("stop", "replace")  # what to do with bytes that are not UTF-8
REPLACEMENT = "\ufffd"
# The longer marks first: UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Decoder:
    """Bytes of one file to text."""

    path: Path
    errors: str
    reading: Reading

    def decode(self, raw: bytes, offset: int = 0, where: str = "") -> str:
        """Return the text of `raw`, which begins `offset` bytes into the file; honour a byte-order mark at its front.

        where: the place in the file, of a value that is no part of a text file. In a text file NUL is an error, too.
        """
        encoding, mark = encoding_of(raw) if offset == 0 and not where else ("utf-8", 0)
        try:
            text = raw[mark:].decode(encoding)
        except UnicodeDecodeError as error:
            at = where or f"at offset {offset + mark + error.start:,}{self._inside}"
            if self.errors == "stop":
                raise UserError(
                    f"{shown(self.path)}: byte 0x{raw[mark + error.start]:02x} {at} is not {encoding.upper()}"
                    f" ({error.reason}): convert the file to UTF-8 or set data.errors=replace"
                ) from None
            text = raw[mark:].decode(encoding, errors="replace")
            self.reading.replaced[self.path] += text.count(REPLACEMENT) - raw.count(REPLACEMENT.encode(encoding))
        if not where and "\0" in text:
            if self.errors == "stop":
                place = offset + mark + len(text[: text.index("\0")].encode(encoding))
                raise UserError(
                    f"{shown(self.path)}: byte 0x00 at offset {place:,}{self._inside}: this is a binary file or UTF-16"
                    " without a byte-order mark: convert it to UTF-8, take it out of the folder or set"
                    " data.errors=replace"
                )
            self.reading.replaced[self.path] += text.count("\0")
            text = text.replace("\0", REPLACEMENT)
        return text

    def text(self, value: Any, where: str) -> str:
        """Return a row's text; empty, and counted, if it is null or empty. Raise UserError for what is not text."""
        text = text_of(value, f"{where} of {shown(self.path)}")
        if not text:
            self.reading.without_text += 1
        elif not _is_unicode(text):
            if self.errors == "stop":
                raise UserError(
                    f"{where} of {shown(self.path)} has half a surrogate pair, which is not text: correct it or set"
                    " data.errors=replace"
                )
            whole = "".join(REPLACEMENT if "\ud800" <= letter <= "\udfff" else letter for letter in text)
            self.reading.replaced[self.path] += whole.count(REPLACEMENT) - text.count(REPLACEMENT)
            text = whole
        return text

    @property
    def _inside(self) -> str:
        return "" if suffix_of(self.path) == self.path.suffix.lower() else " of the decompressed text"


def encoding_of(raw: bytes) -> tuple[str, int]:
    """Return the encoding that a text's byte-order mark names, and the mark's length: UTF-8 and 0 without one."""
    return next(((name, len(mark)) for mark, name in _MARKS if raw.startswith(mark)), ("utf-8", 0))


def text_of(value: Any, where: str) -> str:
    """Return a row's text, empty for null. Raise UserError, with what to do, for a value that is not text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        kinds = {bool: "true or false", list: "a list", dict: "an object"}
        kind = kinds.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
        raise UserError(no_text(where, kind))
    return value


def no_text(where: str, kind: str) -> str:
    """Return the message for a column that holds something else than text."""
    return (
        f"{where} holds {kind}, not text: write the text of each document as one string (of chat messages: joined),"
        " or name another column with data.text_key"
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

"""Files to texts: .txt and .md hold one document each, .jsonl and .parquet one per row. Text files may be compressed.

Every error names the file, the place in it, and what to do.
"""

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from memlab.data.decoding import Decoder, encoding_of, no_text
from memlab.data.reading import Reading, shown, suffix_of
from memlab.errors import UserError

if TYPE_CHECKING:
    import pyarrow

WHOLE = (".txt", ".md", ".py")  # a document per file
ROWS = 256  # rows of a parquet file in memory at a time
_DAMAGE: tuple[type[BaseException], ...] = (OSError, EOFError, zlib.error, lzma.LZMAError)
_POINTERS = {
    b"version https://git-lfs.github.com/spec/": ("Git LFS", "git lfs pull"),
    b"/annex/objects/": ("git-annex", "git annex get ."),
}
_POINTER_SIZE = 1024  # bytes; every pointer is smaller


def can_read(suffix: str) -> bool:
    """Return whether files of a suffix (see `suffix_of`) are read. Parquet is compressed inside, not outside."""
    first, dot, compression = suffix[1:].partition(".")
    return f".{first}" in (*WHOLE, ".jsonl") or (first == "parquet" and not dot and not compression)


def read_texts(path: Path, text_key: str, errors: str, reading: Reading) -> Iterator[str]:
    """Yield the texts of one file that are not empty, and count in `reading`.

    text_key: the column of .jsonl and .parquet that holds the text; other columns are not looked at.
    errors: `stop` at bytes that are not UTF-8, or `replace` each by U+FFFD. Raises UserError for a file that is
    damaged, cut off or only a pointer, and for a column that holds no text.
    """
    require_no_pointer(path)
    suffix = suffix_of(path)
    reading.read[suffix] += 1
    decoder = Decoder(path, errors, reading)
    if suffix == ".parquet":
        yield from _parquet(path, text_key, decoder)
        return
    with damaged(path), _open(path) as stream:
        if suffix.startswith(WHOLE):
            text = decoder.decode(stream.read())
            if text:
                yield text.replace("\r\n", "\n").replace("\r", "\n")
        else:
            yield from _json_lines(_lines(stream, decoder), text_key, decoder)


def require_no_pointer(path: Path) -> None:
    """Raise UserError for a file that only says where its content is."""
    with damaged(path), path.open("rb") as file:
        head = file.read(_POINTER_SIZE)
    if len(head) == _POINTER_SIZE:
        return
    for start, (kind, command) in _POINTERS.items():
        if head.startswith(start):
            raise UserError(
                f"{shown(path)} is a {kind} pointer, not the file itself: run `{command}` in its folder to get it"
            )


@contextmanager
def damaged(path: Path, *more: type[BaseException]) -> Iterator[None]:
    """Turn what reading a damaged file raises (`more`: also these) into a UserError that names the file."""
    try:
        yield
    except (*_DAMAGE, *more) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"cannot read {shown(path)}: {error.strerror}") from error
        about = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{shown(path)} is damaged, cut off or not what its name says ({about}): get the file again,"
            f" it has {path.stat().st_size:,} bytes here"
        ) from error


def no_column(where: str, text_key: str, columns: list[str]) -> str:
    """Return the message for a missing column."""
    choices = ", ".join(columns[:20]) or "(it has none)"
    return f"no column {text_key!r} in {where}: set data.text_key to one of {choices}"


def _open(path: Path) -> BinaryIO:
    match path.suffix.lower():
        case ".gz":
            return cast(BinaryIO, gzip.open(path))
        case ".bz2":
            return cast(BinaryIO, bz2.open(path))
        case ".xz":
            return cast(BinaryIO, lzma.open(path))
        case ".zst":
            import pyarrow

            return io.BufferedReader(pyarrow.CompressedInputStream(path.open("rb"), "zstd"))
        case _:
            return path.open("rb")


def _lines(stream: BinaryIO, decoder: Decoder) -> Iterator[str]:
    first = stream.readline()
    if encoding_of(first)[0] != "utf-8":  # the byte of a line's end may be a part of other characters
        yield from decoder.decode(first + stream.read()).split("\n")
        return
    offset = 0
    for line in chain([first], stream):
        yield decoder.decode(line, offset)
        offset += len(line)


def _json_lines(lines: Iterator[str], key: str, decoder: Decoder) -> Iterator[str]:
    name = shown(decoder.path)
    columns: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            about = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            raise UserError(
                f"{name}, line {number}: not JSON ({about}). A .jsonl file has one JSON object per line; if this is the"
                " last line, the file may be cut off"
            ) from None
        if not isinstance(row, dict):
            raise UserError(f"{name}, line {number}: expected an object such as {{{json.dumps(key)}: ...}}")
        if key not in columns:
            columns |= dict.fromkeys(row)
        text = decoder.text(row.get(key), f"column {key!r} in line {number}")
        if text:
            yield text
    if columns and key not in columns:
        raise UserError(no_column(name, key, list(columns)))


def _parquet(path: Path, key: str, decoder: Decoder) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    with (
        damaged(path, pyarrow.ArrowException),
        path.open("rb") as raw_file,
        pyarrow.parquet.ParquetFile(raw_file, page_checksum_verification=True) as file,
    ):
        rows, schema = file.metadata.num_rows, file.schema_arrow
        if not rows:
            return
        if schema.names.count(key) != 1:
            if key in schema.names:
                raise UserError(f"{shown(path)} has several columns {key!r}: rename all but one")
            raise UserError(no_column(shown(path), key, schema.names))
        kind = schema.field(key).type
        if pyarrow.types.is_null(kind):
            decoder.reading.without_text += rows
            return
        _require_strings(kind, f"column {key!r} of {shown(path)}")
        row = 0
        for batch in file.iter_batches(ROWS, columns=[key]):
            column = batch.column(key)
            if pyarrow.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            # As bytes: a file may hold strings that are not UTF-8.
            for raw in column.cast(pyarrow.large_binary()).to_pylist():
                row += 1
                where = f"row {row:,}"
                text = decoder.text(None if raw is None else decoder.decode(raw, where=f"in {where}"), where)
                if text:
                    yield text


def _require_strings(kind: "pyarrow.DataType", where: str) -> None:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    strings = (types.is_string, types.is_large_string, types.is_string_view)
    binary = (types.is_binary, types.is_large_binary, types.is_binary_view)
    if not any(test(value) for test in (*strings, *binary)):
        raise UserError(no_text(where, str(kind)))

"""Files as users have them: any encoding, compressed, damaged, with other columns, or only a pointer."""

import bz2
import codecs
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from memlab.errors import UserError
from tests.data.texts import line_of, text_files, texts_in, write_parquet

TEXT = "The café's first line\nand its second: 語."
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


def zstd(raw: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as out:
        out.write(raw)
    return sink.getvalue().to_pybytes()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}
compressions = pytest.mark.parametrize("suffix", COMPRESS)
ENCODINGS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
encodings = pytest.mark.parametrize("encoding", ENCODINGS)


@encodings
def test_byte_order_marks_are_honoured_and_not_part_of_the_text(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(ENCODINGS[encoding] + TEXT.encode(encoding))
    rows = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\r\n" for text in (TEXT, "ਊ", "next"))
    (tmp_path / "b.jsonl").write_bytes(ENCODINGS[encoding] + rows.encode(encoding))
    assert texts_in(tmp_path) == [TEXT, TEXT, "ਊ", "next"]  # U+0A0A holds the byte of a line's end twice


def test_line_ends_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree\n")
    assert texts_in(tmp_path) == ["one\ntwo\nthree\n"]


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("a.txt", b"caf\xe9 au lait", r"a\.txt: byte 0xe9 at offset 3 is not UTF-8"),
        ("a.md", codecs.BOM_UTF8 + b"caf\xe9", r"a\.md: byte 0xe9 at offset 6 "),
        ("a.txt", b"cut off: \xe8\xaa", r"byte 0xe8 at offset 9 .*unexpected end of data"),
        ("a.txt", codecs.BOM_UTF16_LE + b"a\0b\0\x00\xd8c\0", r"at offset 6 is not UTF-16-LE"),
        ("a.txt", "The first".encode("utf-16-le"), r"byte 0x00 at offset 1: this is a binary file or UTF-16 without"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "caf\xe9"}\n', r"a\.jsonl: byte 0xe9 at offset 27 "),
        ("a.txt.gz", gzip.compress(b"caf\xe9", mtime=0), r"byte 0xe9 at offset 3 of the decompressed text"),
    ],
)
def test_other_bytes_stop_with_file_and_offset_or_are_replaced_and_counted(
    name: str, raw: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(UserError, match=f"{said}.*data.errors=replace"):
        texts_in(tmp_path)
    assert any("\ufffd" in text for text in texts_in(tmp_path, errors="replace"))
    assert f"not UTF-8 in {name}" in line_of(tmp_path, errors="replace")


def test_replaced_places_are_counted_and_those_of_the_text_itself_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xe9\xe9 \xef\xbf\xbd \0")
    assert texts_in(tmp_path, errors="replace") == ["\ufffd\ufffd \ufffd \ufffd"]
    assert "Replaced 3 places that were not UTF-8 in a.txt." in line_of(tmp_path, errors="replace")


def test_strings_of_a_parquet_file_that_are_not_utf_8_are_said(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", text=[b"good", b"caf\xe9"])
    with pytest.raises(UserError, match=r"a\.parquet: byte 0xe9 in row 2 is not UTF-8"):
        texts_in(tmp_path)
    assert texts_in(tmp_path, errors="replace") == ["good", "caf\ufffd"]


def test_half_a_surrogate_pair_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "b\\ud800"}\n')
    with pytest.raises(UserError, match=r"'text' in line 2 of .*a\.jsonl has half a surrogate pair"):
        texts_in(tmp_path)
    assert texts_in(tmp_path, errors="replace") == ["a", "b\ufffd"]


@compressions
def test_compressed_text_is_read(suffix: str, tmp_path: Path) -> None:
    compress = COMPRESS[suffix]
    (tmp_path / f"a.TXT{suffix}").write_bytes(compress(TEXT.encode()))
    rows = "".join(json.dumps({"text": f"row {i}"}) + "\n" for i in range(3000))
    half = len(rows) // 2
    # In two parts, as tools that compress in parallel or append write them.
    (tmp_path / f"b.jsonl{suffix}").write_bytes(compress(rows[:half].encode()) + compress(rows[half:].encode()))
    assert texts_in(tmp_path) == [TEXT, *(f"row {i}" for i in range(3000))]
    assert f"Read 1 .jsonl{suffix}, 1 .txt{suffix}." in line_of(tmp_path)


@compressions
def test_compressed_files_that_are_cut_off_or_damaged_are_named(suffix: str, tmp_path: Path) -> None:
    whole = COMPRESS[suffix](os.urandom(50_000).hex().encode())
    for content in (whole[:-50], b"<!DOCTYPE html> not what it says" * 4):
        (tmp_path / f"a.txt{suffix}").write_bytes(content)
        with pytest.raises(UserError, match=rf"a\.txt{suffix} is damaged, cut off.*get the file again"):
            texts_in(tmp_path)


@pytest.mark.parametrize("cut", [50, 2000])
def test_parquet_files_that_are_cut_off_are_named(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, text=[f"text {i}" for i in range(1000)])
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match=r"a\.parquet is damaged, cut off"):
        texts_in(tmp_path)


def test_a_parquet_file_damaged_inside_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"text": [os.urandom(20).hex() for _ in range(1000)]})
    pyarrow.parquet.write_table(table, path, write_page_checksum=True, use_dictionary=False)
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 255
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"a\.parquet is damaged"):
        texts_in(tmp_path)


def test_other_columns_of_a_parquet_file_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"other": [os.urandom(20).hex() for _ in range(1000)], "text": ["good"] * 1000})
    pyarrow.parquet.write_table(table, path, write_page_checksum=True, use_dictionary=False)
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 255  # in the column `other`, which comes first
    path.write_bytes(raw)
    assert texts_in(tmp_path) == ["good"] * 1000


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.txt", "a.jsonl.gz"])
def test_pointers_of_git_lfs_and_git_annex_are_recognised_when_the_text_is_hashed(name: str, tmp_path: Path) -> None:
    for pointer, command in ((POINTER, "git lfs pull"), ("/annex/objects/SHA256E-s9--ab.parquet\n", "git annex get")):
        (tmp_path / name).write_text(pointer)
        for use in (texts_in, lambda path: text_files(path).content_hash()):
            with pytest.raises(UserError, match=rf"{name} is a .* pointer, not the file itself: run `{command}"):
                use(tmp_path)


def test_only_the_text_column_is_read_file_by_file(tmp_path: Path) -> None:
    write_parquet(tmp_path / "1.parquet", text=["one"], n=[1], extra=[[1]])
    write_parquet(tmp_path / "2.parquet", n=["another type"], text=["two"])
    write_parquet(tmp_path / "3.parquet", other=pyarrow.array([], pyarrow.int64()))
    write_parquet(tmp_path / "4.parquet", text=pyarrow.array([], pyarrow.null()))
    write_parquet(tmp_path / "5.parquet", **{"text": ["five"], "text.more": [5]})
    (tmp_path / "6.jsonl").write_text('{"text": "six", "n": 1}\n{"n": [1], "text": "seven"}\n{"n": "x", "text": "8"}\n')
    (tmp_path / "7.jsonl").write_text("\n\n")
    assert texts_in(tmp_path) == ["one", "two", "five", "six", "seven", "8"]


@pytest.mark.parametrize(
    "kind",
    [pyarrow.large_string(), pyarrow.string_view(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())],
    ids=str,
)
def test_every_kind_of_string_column_is_read(kind: pyarrow.DataType, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", text=pyarrow.array(["a", None, "é", ""]).cast(kind))
    assert texts_in(tmp_path) == ["a", "é"]
    assert "Left out, null or empty: 2 rows." in line_of(tmp_path)


CHAT = [[{"role": "user", "content": "hello"}]]


@pytest.mark.parametrize(
    ("column", "said"),
    [(CHAT, "list<"), ([["a", "b"]], "list<"), ([1.5], "double"), ([7], "int64"), ([{"a": "b"}], "struct<")],
)
def test_parquet_columns_that_hold_no_text_are_refused(column: list[Any], said: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", text=column)
    with pytest.raises(UserError, match=rf"column 'text' of .*a\.parquet holds {said}.*not text.*data\.text_key"):
        texts_in(tmp_path)


@pytest.mark.parametrize(
    ("value", "said"),
    [(CHAT[0], "a list"), ([1], "a list"), (1.5, "a number"), (7, "a number"), (True, "true"), ({"a": 1}, "an object")],
)
def test_json_values_that_are_no_text_are_refused(value: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n' + json.dumps({"text": value}) + "\n")
    with pytest.raises(UserError, match=rf"column 'text' in line 2 of .*a\.jsonl holds {said}.*data\.text_key"):
        texts_in(tmp_path)


def test_null_absent_and_empty_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "a"}, {"text": None}, {"text": ""}, {"other": 1}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_parquet(tmp_path / "b.parquet", text=[None, None])
    assert texts_in(tmp_path) == ["a"]
    assert "Left out, null or empty: 5 rows." in line_of(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "a"}\n{"text": "b', r"a\.jsonl, line 2: not JSON \(Unterminated string.*may be cut off"),
        ("[1]\n", r"a\.jsonl, line 1: expected an object"),
        ('{"body": "a", "n": 1}\n', r"no column 'text' in .*a\.jsonl: set data\.text_key to one of body, n"),
        ('{"text": ' + "9" * 5000 + "}\n", r"line 1: not JSON"),
        ("[" * 100_000, r"line 1: not JSON"),
    ],
)
def test_jsonl_that_is_none_is_named_with_its_line(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(UserError, match=said):
        texts_in(tmp_path)


def test_missing_and_doubled_columns_of_parquet_are_said(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", body=["a"], n=[1])
    with pytest.raises(UserError, match=r"no column 'text' in .*a\.parquet: set data\.text_key to one of body, n"):
        texts_in(tmp_path)
    doubled = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["text", "text"])
    pyarrow.parquet.write_table(doubled, tmp_path / "a.parquet")
    with pytest.raises(UserError, match="several columns 'text'"):
        texts_in(tmp_path)

"""Folders, globs and files: what is read, what is left out, and what is said."""

import os
from pathlib import Path
from typing import Any

import pytest

from memlab.data import TextFiles
from memlab.errors import UserError
from tests.data.texts import line_of, text_files, texts_in, write_parquet


def test_what_cannot_be_opened_is_said_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("text")
    mine = text_files(tmp_path)

    def refused(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refused)
    for use in (mine.content_hash, lambda: list(mine.documents(tmp_path))):
        with pytest.raises(UserError, match=r"cannot read .*a\.txt: Permission denied"):
            use()


def test_a_folder_says_what_was_read_and_what_was_left_out_and_why(tmp_path: Path) -> None:
    unread = ("d.csv", "e.csv", "f.csv", "g.csv", "h.json", "i", "j.parquet.gz", "k.tar.gz")
    for name in ("a.txt", "b.TXT", "c.md", *unread):
        (tmp_path / name).write_text("some text")
    (tmp_path / "empty.txt").touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "l.txt").write_text("not read")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nothing")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "m.jsonl").write_text('{"text": "deep"}\n')
    (tmp_path / "below" / "circle").symlink_to(tmp_path)
    (tmp_path.parent / f"{tmp_path.name} elsewhere").mkdir()
    (tmp_path.parent / f"{tmp_path.name} elsewhere" / "n.txt").write_text("behind a link")
    (tmp_path / "link").symlink_to(tmp_path.parent / f"{tmp_path.name} elsewhere")
    os.mkfifo(tmp_path / "pipe.txt")
    assert sorted(texts_in(tmp_path)) == ["behind a link", "deep", *["some text"] * 3]
    line = line_of(tmp_path)
    assert line.startswith("Read 1 .jsonl, 1 .md, 3 .txt. ")
    for part in (
        "Left out, no format that memlab reads: 4 .csv (d.csv, e.csv, f.csv, ...), 1 .json (h.json),"
        " 1 .parquet.gz (j.parquet.gz), 1 .tar.gz (k.tar.gz), 1 without suffix (i).",
        "Left out, empty: 1 .txt (empty.txt).",
        "Left out, hidden: 1 without suffix (.hidden).",
        "Left out, links to nothing: 1 .txt (gone.txt).",
        "Left out, neither files nor folders: 1 .txt (pipe.txt).",
    ):
        assert part in line


def test_a_folder_without_text_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b")
    with pytest.raises(UserError, match=r"holds no text: \.txt, \.md.*no format that memlab reads: 1 \.csv \(a\.csv\)"):
        texts_in(tmp_path)


def test_a_path_is_a_folder_a_file_or_a_glob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a [1].txt", "b=é.txt", "c.md"):
        (tmp_path / name).write_text(name)
    assert texts_in(tmp_path / "a [1].txt") == ["a [1].txt"]
    assert texts_in(tmp_path / "*.txt") == ["a [1].txt", "b=é.txt"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert texts_in("~/c.md") == ["c.md"]
    with pytest.raises(UserError, match="no such folder or file, and no match"):
        texts_in(tmp_path / "missing")
    for nothing in ("", None):
        with pytest.raises(UserError, match=r"data\.path=.*: give it a value"):
            TextFiles(name="mine", path=nothing, val=0.1)


def test_names_that_are_not_utf_8_can_be_printed(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.parquet")
    write_parquet(tmp_path / "a.parquet", text=["a"])
    try:
        (tmp_path / "a.parquet").rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system takes no such names")
    (tmp_path / os.fsdecode(b"\xff.csv")).touch()
    assert texts_in(tmp_path) == ["a"]
    line_of(tmp_path).encode()

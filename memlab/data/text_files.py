"""Documents that are files, or rows of files: the user's own, and the standard library's source."""

import glob
import hashlib
import json
import os
import sysconfig
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from memlab.data.decoding import ERRORS
from memlab.data.readers import can_read, damaged, read_texts, require_no_pointer
from memlab.data.reading import Reading, shown, suffix_of
from memlab.data.source import Document, Source, require_choice, require_text
from memlab.errors import UserError

SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


def file_hash(path: Path) -> str:
    """Return a hash of a file's content and suffix, whatever its name; some GB per second.

    A file that has not changed is read once per process. Raises UserError for a file that cannot be read.
    """
    require_no_pointer(path)
    with damaged(path):
        stat = path.stat()
    return _file_hash(path, (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


@cache
def _file_hash(path: Path, state: tuple[int, ...]) -> str:
    with damaged(path), path.open("rb") as file:
        return f"{suffix_of(path)} {hashlib.file_digest(file, 'blake2b').hexdigest()}"


@dataclass
class Found:
    """Files to read, and those beside them that are left out, by reason."""

    files: list[Path] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Read this file, unless it is empty."""
        if path.stat().st_size:
            self.files.append(path)
        else:
            self.leave_out("empty", path)

    def leave_out(self, reason: str, path: Path) -> None:
        self.left_out.setdefault(reason, []).append(path)


class FileSource(Source):
    """A source whose text is in files: a subclass says in which, in `find`.

    text_key: the column of .jsonl and .parquet that holds the text.
    errors: `stop` at bytes that are not UTF-8, or `replace` and count them.
    """

    def __init__(self, *, text_key: str, errors: str, **common: Any) -> None:
        super().__init__(**common)
        require_choice("data.errors", errors, ERRORS)
        self.text_key = require_text("data.text_key", text_key)
        self.errors = errors
        self._reading = Reading()

    @abstractmethod
    def find(self) -> Found:
        """Return the files. Raise UserError if there are none."""

    def content_hash(self) -> str:
        return digest_of([*sorted(map(file_hash, self.find().files)), self.text_key, self.errors])

    def documents(self, cache: Path) -> Iterator[Document]:
        found = self.find()
        self._reading = Reading(left_out=found.left_out)
        for path in sorted(found.files):
            for text in read_texts(path, self.text_key, self.errors, self._reading):
                yield Document(text)

    def report(self) -> list[str]:
        return self._reading.sentences()


class PythonSource(FileSource):
    """The source of the running interpreter's standard library, without its tests. A document per file."""

    def __init__(self, *, name: str, val: float, max_bytes: float | None = None, windows: str = "packed") -> None:
        super().__init__(name=name, val=val, max_bytes=max_bytes, windows=windows, text_key="text", errors="replace")

    def find(self) -> Found:
        root = Path(sysconfig.get_path("stdlib"))
        found = Found()
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]  # large ones: do not enter them
            for name in names:
                if name.endswith(".py"):
                    found.add(Path(folder, name))
        if not found.files:
            raise UserError(f"no Python source in {root}: this interpreter came without it. Use data=text_files")
        return found


class TextFiles(FileSource):
    """A folder with all folders in it, a glob, or one file.

    .txt and .md hold a document each, .jsonl and .parquet one per row; .txt, .md and .jsonl may be compressed (.gz,
    .bz2, .xz, .zst). Byte-order marks are honoured.
    """

    def __init__(
        self,
        *,
        name: str,
        path: str,
        val: float,
        text_key: str = "text",
        errors: str = "stop",
        max_bytes: float | None = None,
        windows: str = "packed",
    ) -> None:
        super().__init__(name=name, val=val, max_bytes=max_bytes, windows=windows, text_key=text_key, errors=errors)
        self.path = os.path.expanduser(require_text("data.path", path))

    def find(self) -> Found:
        found = Found()
        for path in _paths(self.path, found):
            suffix = suffix_of(path)
            if not path.exists():
                found.leave_out("links to nothing", path)
            elif not path.is_file():
                found.leave_out("neither files nor folders", path)
            elif not can_read(suffix) or suffix.startswith(".py"):
                found.leave_out("no format that memlab reads", path)
            else:
                found.add(path)
        if not found.files:
            there = " ".join(["", *Reading(left_out=found.left_out).sentences()])
            raise UserError(
                f"data.path={shown(self.path)} holds no text: .txt, .md and .jsonl files are read, also with .gz, .bz2,"
                f" .xz or .zst, and .parquet files.{there}"
            )
        return found


def digest_of(values: list[Any]) -> str:
    """Return a hash of plain values."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _paths(given: str, found: Found) -> Iterator[Path]:
    """Yield what a folder, a file or a glob stands for; leave out what is hidden."""
    if not os.path.isdir(given):
        matches = [given] if os.path.lexists(given) else sorted(glob.glob(given, recursive=True))
        if not matches:
            raise UserError(f"data.path={shown(given)}: there is no such folder or file, and no match of such a glob")
        yield from (Path(name) for name in matches if not os.path.isdir(name))
        return
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(given, followlinks=True, onerror=_refuse):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:  # links may lead in a circle
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        for name in sorted([*folders, *files]):
            if name.startswith("."):
                found.leave_out("hidden", Path(folder, name))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise UserError(f"cannot read the folder {shown(error.filename)}: {error.strerror}") from error

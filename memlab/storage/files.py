"""Write files so that a reader never sees half of one, and seal large ones so that damage is detected."""

import errno
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

_DIGEST = hashlib.sha256().digest_size


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Yield an empty file under a new name beside `path`, readable by everybody; remove it at the end if it is there.

    Makes the folder. Raises OSError (a full disk, a read-only folder).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.fchmod(handle, 0o644)
        os.close(handle)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty file beside `path`; when the body ends, flush it to the disk and rename it to `path`.

    A kill or a full disk leaves the old file or the new one, never a part of one; after an error the old file is still
    there and the new one is removed. Raises OSError.
    """
    with temporary_file(path) as temporary:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    _flush_folder(path.parent)


@contextmanager
def sealed_writer(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write to; when the body ends, append the SHA-256 of what was written, and replace `path` by it.

    Nothing is collected in memory. Raises OSError as `replacing` does.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        sealed = _HashingWriter(file)
        try:
            yield sealed  # type: ignore[misc]  # it has what writers ask for
        finally:
            if sealed.error is not None:
                raise sealed.error
        file.write(sealed.digest())


@contextmanager
def sealed_reader(path: Path) -> Iterator[BinaryIO]:
    """Yield the content of a sealed file, without the digest at its end, as a file to read. `is_whole` checks it."""
    with path.open("rb") as file, _Content(file) as content:
        yield content  # type: ignore[misc]  # it has what readers ask for


def is_whole(path: Path) -> bool:
    """Whether a sealed file is as it was written. Raises FileNotFoundError."""
    with path.open("rb") as file:
        content = _Content(file)
        digest = hashlib.file_digest(content, "sha256").digest()
        return content.size > 0 and digest == file.read()


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by a file with `content`, as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as indented JSON."""
    write_atomic(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Return the value of a JSON file. Raises OSError, and ValueError for a file that is no JSON."""
    return json.loads(path.read_bytes())


class _HashingWriter:
    """Pass everything on to `file` and hash it on the way.

    An error of the file waits in `error`, and what follows is dropped: torch's writer would replace the exception by a
    RuntimeError of its own ("unexpected pos 64 vs 0").
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: bytes | memoryview, /) -> int:
        if self.error is None:
            try:
                self._file.write(content)
            except OSError as error:
                self.error = error
            self._hash.update(content)
        return len(content)

    def flush(self) -> None:
        """Nothing to do: `replacing` flushes at the end."""

    def digest(self) -> bytes:
        return self._hash.digest()


class _Content(io.RawIOBase):
    """The bytes of a sealed file ahead of its digest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size - _DIGEST

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        left = max(0, self.size - self._file.tell())
        return self._file.readinto(view[:left])  # type: ignore[attr-defined]

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            return self._file.seek(self.size + offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut. Some file systems cannot do this, and say so."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES):
            raise
    finally:
        os.close(handle)

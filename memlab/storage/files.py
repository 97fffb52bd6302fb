"""Writing files so that a reader never sees half of one."""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_atomic(path: Path, content: bytes) -> None:
    """Writes `content` beside `path`, then renames: a kill or a full disk leaves the old file or the new one.

    Raises OSError (a full disk, a read-only folder); nothing is left behind then.
    """
    temporary = write_temporary(path, content)
    try:
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def write_temporary(path: Path, content: bytes) -> str:
    """Writes `content`, down to the disk, under a new name beside `path`, and returns it. Raises as write_atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
    except BaseException:
        _remove(temporary)
        raise
    return temporary


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def _remove(temporary: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)

"""One process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from memlab.progress import console


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Holds the lock file at `path`; says `waiting` when another process has it.

    The system frees it when its holder dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        console.print(waiting, markup=False)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

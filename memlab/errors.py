"""Errors of the user and of the machine, with what to do about them. Every other error keeps its traceback."""

import errno
import sys
from typing import NoReturn

_DISK = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the disk is read-only: choose another folder with runs_dir=",
    errno.EACCES: "no permission to write there: choose another folder with runs_dir=",
    errno.ESTALE: "the network folder went away: mount it again",
    errno.ENOTDIR: "a file lies where a folder should be: choose another folder with runs_dir=",
    errno.EEXIST: "a file lies where a folder should be: choose another folder with runs_dir=",
}


class UserError(ValueError):
    """A mistake of the user, raised on purpose: the command ends with its message and without a traceback.

    Raise it in models and objectives of your own, too.
    """


def is_disk_trouble(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _DISK


def explain(error: BaseException) -> str | None:
    """Return one message that says what to do; None for an error that nobody foresaw."""
    if is_disk_trouble(error):
        assert isinstance(error, OSError) and error.errno is not None
        where = f" ({error.filename})" if error.filename else ""
        return f"{_DISK[error.errno]}{where}, then run the same command again: it resumes from the last checkpoint"
    if _out_of_memory(error):
        return (
            "out of memory: halve trainer.batch_size and double trainer.accumulate (the same windows per step, half the"
            " memory), or lower scale.width or scale.chunk_length"
        )
    if isinstance(error, UserError):
        return str(error)
    return None


def fail(error: Exception, status: int) -> NoReturn:
    """End the program with one message; raise an unforeseen error again, with its traceback."""
    message = explain(error)
    if message is None:
        raise error
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(status) from None


def _out_of_memory(error: BaseException) -> bool:
    """torch raises OutOfMemoryError on GPUs and a plain RuntimeError from its CPU allocator."""
    message = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in message)
    )

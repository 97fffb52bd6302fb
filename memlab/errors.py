"""Which errors are the user's or the machine's, and what to do about them. All others keep their traceback."""

import errno
import traceback
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)
_DISK = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the disk is read-only: choose another folder with runs_dir=",
    errno.EACCES: "no permission to write there: choose another folder with runs_dir=",
    errno.ESTALE: "the network folder went away: mount it again",
}


def is_disk_trouble(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _DISK


def explain(error: BaseException) -> str | None:
    """One message that says what to do; None for an error nobody foresaw."""
    if is_disk_trouble(error):
        assert isinstance(error, OSError) and error.errno is not None
        where = f" ({error.filename})" if error.filename else ""
        return f"{_DISK[error.errno]}{where}, then run the same command again: it goes on from the last checkpoint"
    if _out_of_memory(error):
        return (
            "out of memory: halve trainer.batch_size and double trainer.accumulate (the same windows per step, half the"
            " memory), or lower scale.width or scale.chunk_length"
        )
    if isinstance(error, ValueError):
        # A ValueError that a library raised on its own is a bug of ours, and needs its traceback.
        frames = traceback.extract_tb(error.__traceback__)
        if frames and frames[-1].filename.startswith(_PACKAGE):
            return str(error)
    return None


def _out_of_memory(error: BaseException) -> bool:
    """torch raises OutOfMemoryError on GPUs and a plain RuntimeError from its CPU allocator."""
    message = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in message)
    )

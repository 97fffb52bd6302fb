"""glibc's allocator, told what to do with freed memory. Nothing happens where the C library is another."""

import ctypes
import sys
from contextlib import suppress

# malloc.h; glibc takes no larger value for the first one.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
LARGEST_MMAP_THRESHOLD = 32 * 2**20
NEVER = 2**31 - 1
SMALL = 2**16


def keep_freed_memory(trim_threshold: int = NEVER) -> None:
    """For the rest of this process, up to `trim_threshold` bytes.

    By default large freed blocks go back to the system, and the next step's arrays are zeroed again page by page: tens
    of thousands of page faults a step, at no gain in peak memory. What they cost: docs/performance.md.
    """
    _set(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
    _set(M_TRIM_THRESHOLD, trim_threshold)


def map_every_array() -> None:
    """Every array of 64 KiB or more on pages of its own, gone when it is freed: resident memory is what is in use.

    The heap's gaps, which differ from run to run, are no part of it then.
    """
    _set(M_MMAP_THRESHOLD, SMALL)


def _set(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(option, value)

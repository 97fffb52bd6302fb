"""glibc's allocator, told to keep what is freed.

By default it hands large freed blocks back to the system, and has the next step's arrays zeroed page by page again:
tens of thousands of page faults a step, at no gain in peak memory. What they cost: docs/performance.md.
"""

import ctypes
import sys
from contextlib import suppress

# malloc.h; glibc takes no larger value for the first one.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
LARGEST_MMAP_THRESHOLD = 32 * 2**20
NEVER = 2**31 - 1


def keep_freed_memory(trim_threshold: int = NEVER) -> None:
    """For the rest of this process, up to `trim_threshold` bytes. Does nothing where the C library is another."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
            library.mallopt(M_TRIM_THRESHOLD, trim_threshold)


def return_freed_memory() -> None:
    """Hands back what is free now, so that the system's count of resident memory is of what is in use."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

"""Settings of a process that trains on a CPU: how freed memory and subnormal numbers are treated."""

import ctypes
import sys
from contextlib import suppress

import torch

# malloc.h; glibc takes no larger value for the first one.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
LARGEST_MMAP_THRESHOLD = 32 * 2**20
NEVER = 2**31 - 1
SMALL = 2**16


def prepare_cpu() -> None:
    """Prepare this process for training. Call once, before torch starts its threads, which inherit the settings."""
    keep_freed_memory()
    # Flush subnormal numbers (denormals, below 1.2e-38) to zero: the softmax of a confident model is full of them, and
    # arithmetic with them is many times slower.
    torch.set_flush_denormal(True)


def keep_freed_memory(trim_threshold: int = NEVER) -> None:
    """Keep freed memory in this process, up to `trim_threshold` bytes, instead of returning it to the system.

    By default glibc returns large freed blocks, and the system zeroes the next step's arrays page by page: tens of
    thousands of page faults per step, without a lower peak of memory. docs/performance.md has their cost. Does nothing
    with other C libraries.
    """
    _set(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
    _set(M_TRIM_THRESHOLD, trim_threshold)


def map_every_array() -> None:
    """Give every array of 64 KiB or more pages of its own, which are returned when it is freed.

    Resident memory is then the memory in use, without the gaps of the heap, which differ from run to run.
    """
    _set(M_MMAP_THRESHOLD, SMALL)


def _set(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(option, value)

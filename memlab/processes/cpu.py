"""Settings of a process that trains on a CPU: how freed memory and numbers next to zero are treated."""

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
    """What a training run sets, once, before torch has made its threads: they take it over."""
    keep_freed_memory()
    # Below 1.2e-38: a confident model's softmax is full of such numbers, and products with them are many times slower.
    torch.set_flush_denormal(True)


def keep_freed_memory(trim_threshold: int = NEVER) -> None:
    """For the rest of this process, up to `trim_threshold` bytes; glibc only.

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

"""Freed arrays are reused without new pages, or not kept at all; subnormal numbers are zero."""

import platform
import resource
import subprocess
import sys

import pytest

# Arrays that are freed together, as a step's activations are: more than glibc keeps by default.
SCRIPT = """
import resource, sys
import torch
from memlab.processes.cpu import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    return [torch.ones(4 * 2**20) for _ in range(12)]
step()
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library: nothing is set there")
def test_page_faults_are_saved() -> None:
    def faults(how: str) -> int:
        return int(
            subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True).stdout
        )

    pages = 3 * 12 * 16 * 2**20 // resource.getpagesize()
    kept = faults("keep")
    assert kept < 0.1 * pages
    assert kept <= faults("leave")  # few as well, where the system hands out huge pages


MAPPED = """
import torch
from memlab.processes.cpu import map_every_array
def resident():
    return int(open("/proc/self/statm").read().split()[1])
map_every_array()
before = resident()
kept, freed = [], []
for _ in range(256):
    freed.append(torch.ones(24 * 2**10))
    kept.append(torch.ones(24 * 2**10))
del freed
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library: nothing is set there")
def test_resident_memory_is_what_is_in_use() -> None:
    """Arrays of 96 KiB, every second one freed. By default they lie on the heap, which would keep the gaps."""
    done = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=True)
    kept = 256 * 96 * 2**10 // resource.getpagesize()
    assert kept <= int(done.stdout) < 1.2 * kept


TINY = """
import torch
from memlab.processes.cpu import prepare_cpu
prepare_cpu()
print((torch.full((2**20,), 1e-30) * 1e-10).count_nonzero().item())
"""


def test_subnormal_numbers_are_zero_on_every_thread() -> None:
    done = subprocess.run([sys.executable, "-c", TINY], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 0

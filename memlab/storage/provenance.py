"""Where a number comes from: the code's commit, versions of packages, the machine."""

import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from memlab.processes.machine import cores

CODE = ("memlab", "conf", "pyproject.toml")
PACKAGES = ("memlab", "torch", "lightning", "torchmetrics", "tokenizers", "datasets", "numpy", "hydra-core", "wandb")


@cache
def commit() -> tuple[str | None, bool | None]:
    """Return the checkout's commit and whether code or configs differ from it; (None, None) outside a checkout.

    What lies beside them (results, notes, wheels) makes no number.
    """
    folder = Path(__file__).parent.parent.parent
    if not (folder / ".git").exists():
        return None, None
    try:
        git = [_git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "--", *CODE)]
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return git[0].strip(), bool(git[1].strip())


def origin() -> dict[str, Any]:
    """Return commit, dirty, versions and hardware, as every file of numbers holds them."""
    code, dirty = commit()
    return {"commit": code, "dirty": dirty, "versions": versions(), "hardware": hardware()}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that can change a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def hardware() -> dict[str, Any]:
    """Return the CPU's name, the number of cores this process may use, the memory, and the GPU if there is one."""
    import torch

    found: dict[str, Any] = {"cpu": _cpu(), "cores": cores()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        found["memory"] = f"{gib:.0f} GiB"
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def forget_peak() -> None:
    """Let `peak_memory` begin anew, as a process trains several stages; not every system can do that."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Return the peak memory so far in bytes: of the GPU if one is used, else of this process (see forget_peak)."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout

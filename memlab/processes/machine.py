"""What this process may use of the machine, and how busy others keep the machine; without torch."""

import math
import os
import time
from collections.abc import MutableMapping
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
STAT = Path("/proc/stat")
BUSY = 0.5  # cores: others that use more share our cores with us
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # what people set by themselves


def cores() -> int:
    """Return how many cores this process may use: its affinity, limited by the quotas of its control groups."""
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(mask, math.floor(_quota() + 0.5))) if _quota() else mask


def _quota() -> float:
    """Return the cores that the strictest control group allows; 0.0 without a limit."""
    try:
        names = [line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return 0.0
    quotas = []
    for controllers, name in names:
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container the group's own name may not be visible: its files are then at the top.
        own = CGROUPS / ("cpu" if controllers else "") / name.lstrip("/")
        quotas += [_quota_of(folder) for folder in (own, *own.parents) if folder.is_relative_to(CGROUPS)]
    return min((quota for quota in quotas if quota), default=0.0)


def _quota_of(folder: Path) -> float:
    try:
        if (folder / "cpu.max").exists():  # version 2
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return max(0.0, float(quota) / float(period))  # -1: no limit
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0  # such as "max"


class Others:
    """Measures how many cores processes other than this one use, between two calls of `cores`.

    Where the system does not tell (no /proc/stat), the answer is 0.0.
    """

    def __init__(self) -> None:
        self._before = self._now()

    def cores(self) -> float:
        """Return the mean number of busy cores since the last call, or since the start, without this process's own."""
        (busy, own, at), (busy_before, own_before, before) = self._now(), self._before
        self._before = busy, own, at
        if at - before < 0.05:  # the kernel counts hundredths of a second
            return 0.0
        return max(0.0, (busy - busy_before) - (own - own_before)) / (at - before)

    def _now(self) -> tuple[float, float, float]:
        """Return the seconds that all cores were busy, those of this process, and the time."""
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        try:
            user, nice, system, _, _, irq, softirq = map(int, STAT.read_text().split()[1:8])
        except (OSError, ValueError):
            return own, own, time.monotonic()
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK"), own, time.monotonic()


def choose_waiting(environment: MutableMapping[str, str], asleep: bool) -> bool:
    """Choose how the threads of a matrix product wait for each other, before torch is imported.

    By default they spin: faster on an idle machine, many times slower where another process needs one of the cores.
    Return whether they spin because nobody has chosen otherwise; the user's own choice is left alone.
    """
    if any(name in environment for name in WAITING):
        return False
    if asleep:
        wait_without_spinning(environment)
    return not asleep


def wait_without_spinning(environment: MutableMapping[str, str]) -> None:
    environment["OMP_WAIT_POLICY"] = "passive"

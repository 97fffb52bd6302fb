"""What a process may use of the machine."""

import os
import time
from pathlib import Path

import pytest

from memlab.processes import machine


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of four cores whose control groups are files in the folder returned."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000"}, 4),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "250000 100000"}, 3),
        ({"cpu.max": "20000 100000"}, 1),
        ({"cpu.max": "800000 100000"}, 4),
        ({"cpu.max": "nonsense"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
    ],
)
def test_a_quota_limits_the_cores(files: dict[str, str], cores: int, four_cores: Path) -> None:
    for name, content in files.items():
        (four_cores / name).parent.mkdir(exist_ok=True)
        (four_cores / name).write_text(content)
    assert machine.cores() == cores


def test_a_busy_process_is_seen_and_one_s_own_work_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "STAT", tmp_path / "stat")
    ticks = os.sysconf("SC_CLK_TCK")
    machine.STAT.write_text(f"cpu {100 * ticks} 0 {ticks} 5 6 0 0 0\n")
    others = machine.Others()
    assert others.cores() == 0.0, "too early to tell"
    time.sleep(0.2)
    machine.STAT.write_text(f"cpu {100 * ticks + ticks // 5} 0 {ticks} 500 6 0 0 0\n")
    assert 0.2 < others.cores() < 1.2, "0.2 seconds of work in a little more than 0.2 seconds"
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    machine.STAT.write_text(f"cpu {100 * ticks + ticks // 2} 0 {ticks} 500 6 0 0 0\n")
    assert others.cores() < 0.2, "the 0.3 seconds were this process's own"


def test_where_the_system_does_not_tell_nobody_is_busy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "STAT", tmp_path / "none")
    others = machine.Others()
    time.sleep(0.1)
    assert others.cores() == 0.0

"""What can be tested of hydra/launcher=slurm without SLURM (tests/slurm has the rest)."""

import importlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from submitit import LocalExecutor

from memlab import launchers
from memlab.processes import slurm
from memlab.processes.signals import Stopped


def job_that(ends: str) -> Callable[[], Any]:
    """A function of its own, which submitit sends to the job as it stands: the job does not import this file."""

    def job() -> Any:
        if ends == "raises":
            raise RuntimeError("NCCL fell over")
        if ends == "dies":
            os.kill(os.getpid(), signal.SIGKILL)

        class Unreadable:
            def __reduce__(self):  # type: ignore[no-untyped-def]
                return importlib.import_module, ("a_module_of_the_job_s_machine",)

        return Unreadable()

    return job


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ("raises", "RuntimeError: NCCL fell over: see "),
        ("dies", "ended without a result (FINISHED): see "),
        ("returns what nobody can read", "its result cannot be read (ModuleNotFoundError("),
    ],
)
@pytest.mark.slow
def test_a_job_that_ends_in_a_way_nobody_foresaw_is_named(ends: str, message: str, tmp_path: Path) -> None:
    job = LocalExecutor(tmp_path).submit(job_that(ends))
    job.wait()
    (found,) = launchers._failures(job)
    assert found.startswith(f"job {job.job_id}") and message in found and "_log.*" in found


@pytest.mark.parametrize(
    ("state", "done"),
    [("PENDING", False), ("CONFIGURING", False), ("SUSPENDED", False), ("COMPLETED", True), ("FAILED", True)],
)
def test_states_of_jobs(state: str, done: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 0, f"7_0|{state}|node\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    watcher = slurm.QueueWatcher()
    watcher.register_job("7_0")
    assert watcher.is_done("7_0", mode="force") == done
    watcher.register_job("7_1")  # which the answer does not have
    assert watcher.is_done("7_1", mode="force")


def test_a_job_goes_on_later_where_slurm_needs_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def scontrol(command: list[str], **_: Any) -> Any:
        assert command[-2:] == ["job", "7_3"]
        return SimpleNamespace(stdout=f"JobId=9 PreemptEligibleTime=2026-01-01T00:00:00 PreemptTime={time} Partition=a")

    monkeypatch.setattr(subprocess, "run", scontrol)
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert slurm.goes_on_later(Stopped(10)) and not slurm.goes_on_later(Stopped(15))
    monkeypatch.setattr(os, "environ", os.environ | {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"})
    time = "None"
    assert not slurm.goes_on_later(Stopped(15)), "scancel"
    time = "2026-01-01T00:00:01"
    assert slurm.goes_on_later(Stopped(15))


def test_without_scontrol_nothing_is_requeued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"PATH": "", "SLURM_JOB_ID": "7"})
    assert not slurm.requeue() and not slurm.goes_on_later(Stopped(15))

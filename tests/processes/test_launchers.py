"""hydra/launcher=local, and what can be tested of hydra/launcher=slurm without SLURM (tests/slurm has the rest)."""

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
from tests.conftest import Command

DIVERGES = "arms.no_memory='encoder=none objective=copy optimizer.lr=1e30'"
LOCAL = ("hydra/launcher=local", "hydra.launcher.parallel=2", "trainer.threads=1")


@pytest.mark.slow
def test_local_processes_share_a_stage_and_end_with_the_report(memlab: Command, tmp_path: Path) -> None:
    result = memlab("+experiment=copy_curriculum", "arm=no_memory,direct_copy,blank_copy", *LOCAL, runs=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("submitted job") == 3
    logs = "".join(path.read_text() for path in tmp_path.glob("jobs/*/*_log.out"))
    assert (
        logs.count("autoencoder-")
        and sum("autoencoder-" in line and "steps in" in line for line in logs.splitlines()) == 1
    ), "trained once"
    assert "claims" in result.stdout and list(tmp_path.glob("reports/copy_curriculum/*/report.md"))


def test_a_local_process_that_fails_is_named_and_the_others_are_reported(memlab: Command, tmp_path: Path) -> None:
    result = memlab(
        "+experiment=copy_curriculum", "arm=no_memory,trainable", DIVERGES,
        "trainer.log_every=1", *LOCAL, runs=tmp_path,
    )  # fmt: skip
    assert result.returncode == 1
    assert "not finite" in result.stderr and "Traceback" not in result.stderr
    assert "error: job " in result.stderr and "_log." in result.stdout
    assert list(tmp_path.glob("reports/copy_curriculum/*/report.md"))


@pytest.mark.slow
def test_a_point_of_several_processes(memlab: Command, tmp_path: Path) -> None:
    """A launcher asked for is used also where there is one point and no experiment."""
    result = memlab("trainer=cpu_ddp", "trainer.devices=2", "hydra/launcher=local", runs=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("submitted job") == 1
    logs = [path.read_text() for path in tmp_path.glob("jobs/*/*_log.out")]
    assert len(logs) == 2 and sum("steps in" in log for log in logs) == 1, "one process talks"
    assert list(tmp_path.glob("stages/copy-*/finished.json"))


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

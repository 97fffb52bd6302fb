"""hydra/launcher=local, and of the one for SLURM what can be tested without SLURM (tests/slurm has the rest)."""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins import memlab_launcher
from memlab.processes import slurm
from memlab.processes.signals import Stopped
from tests.conftest import Command

LOCAL = ("hydra/launcher=local", "hydra.launcher.parallel=2", "trainer.threads=1")


def test_local_processes_share_a_stage_and_end_with_the_report(memlab: Command, tmp_path: Path) -> None:
    result = memlab("+experiment=copy_curriculum", "arm=no_memory,direct_copy,blank_copy", *LOCAL, runs=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("submitted local job") == 3
    logs = "".join(path.read_text() for path in tmp_path.glob("hydra/.submitit/*/*_log.out"))
    assert (
        logs.count("autoencoder-")
        and sum("autoencoder-" in line and "steps in" in line for line in logs.splitlines()) == 1
    ), "trained once"
    assert "claims" in result.stdout and list(tmp_path.glob("reports/copy_curriculum/*/report.md"))


def test_a_local_process_that_fails_is_named_and_the_others_are_reported(memlab: Command, tmp_path: Path) -> None:
    result = memlab(
        "+experiment=copy_curriculum", "arm=no_memory", "architecture=mixer,transformer", "scale.lr.mixer=1e30",
        "trainer.log_every=1", *LOCAL, runs=tmp_path,
    )  # fmt: skip
    assert result.returncode == 1
    assert "not finite" in result.stderr and "Traceback" not in result.stderr
    assert "error: job " in result.stderr and "_log." in result.stdout
    assert list(tmp_path.glob("reports/copy_curriculum/*/report.md"))


def test_a_point_of_several_processes(memlab: Command, tmp_path: Path) -> None:
    """A launcher asked for is used also where there is one point and no experiment."""
    result = memlab("trainer=cpu_ddp", "trainer.devices=2", "hydra/launcher=local", runs=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("submitted local job") == 1
    logs = [path.read_text() for path in tmp_path.glob("hydra/.submitit/*/*_log.out")]
    assert len(logs) == 2 and sum("steps in" in log for log in logs) == 1, "one process talks"
    assert list(tmp_path.glob("stages/copy-*/finished.json"))


@pytest.mark.parametrize("unreadable", [False, True])
def test_an_error_that_nobody_foresaw_is_named(unreadable: bool) -> None:
    def outcome() -> tuple[str, JobReturn]:
        if unreadable:
            raise ModuleNotFoundError("of an exception's class")
        return "success", JobReturn(status=JobStatus.FAILED, _return_value=RuntimeError("NCCL fell over"))

    paths = SimpleNamespace(stderr=Path("7_0_log.err"))
    task = SimpleNamespace(_get_outcome_and_result=outcome, paths=paths)
    job: Any = SimpleNamespace(job_id="7", task=lambda _: task)
    message = memlab_launcher._failure(job) or ""
    assert ("exception's class" if unreadable else "NCCL fell over") in message and "see 7_0_log.*" in message


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

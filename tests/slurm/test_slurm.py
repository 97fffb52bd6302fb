"""Sweeps on a real SLURM cluster of one node, which up.sh starts: `make test-slurm`."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memlab.storage.lock import holder
from tests.conftest import ROOT, smoke, wait_for

# Only on request: tests have no business in the queue of a cluster that people use.
pytestmark = pytest.mark.skipif(
    "SLURM_TESTS" not in os.environ, reason="make test-slurm sets up a cluster and runs these"
)
NAME = "memlab-tests"
SIX, THREE = "scale.stages.memory.steps=10,11,12,13,14,15", "scale.stages.memory.steps=10,11,12"
# Points that share one autoencoder and differ in their number of copying steps.
SWEEP = (
    "encoder=frozen_autoencoder",
    "objective=blank_copy",
    "scale.stages.autoencoder.steps=2000",
    "trainer.checkpoint_every=20",
    "trainer.threads=1",
    "trainer.log_every=10",
)
SLURM = (
    "hydra/launcher=slurm",
    f"hydra.launcher.job_name={NAME}",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.signal_delay_s=30",
)
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def start(corpus: Path, environment: dict[str, str]) -> Start:
    def call(runs: Path, *more: str, points: str = THREE) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "memlab.run", "-m", *smoke(corpus, runs), *SWEEP, points, *more]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=corpus
        )

    return call


@pytest.fixture(scope="module")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Weights of every stage, trained in one process."""
    runs = tmp_path_factory.mktemp("undisturbed")
    process = start(runs, points=SIX)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return weights(runs)


@pytest.fixture(autouse=True)
def clean_queue() -> Iterator[None]:
    yield
    subprocess.run(["scancel", f"--name={NAME}"], check=False)
    wait_for(lambda: not queue(), 60)


def weights(runs: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in runs.glob("stages/*/model.safetensors")}


def queue() -> list[str]:
    """Jobs that wait or run."""
    return subprocess.run(
        ["squeue", "-h", "-r", "-o", "%i", "-n", NAME], capture_output=True, text=True, check=True
    ).stdout.split()


def trainer_of(runs: Path) -> dict[str, Any]:
    """Return the job and the process that train the autoencoder, once there is a checkpoint."""
    wait_for(lambda: list(runs.glob("stages/autoencoder-*/checkpoints/step-*.ckpt")), 120)
    (folder,) = runs.glob("stages/autoencoder-*")
    return holder(folder / ".lock")


@contextmanager
def held_until_told(pid: int, runs: Path, told: signal.Signals) -> Iterator[None]:
    """Stop the process that trains the autoencoder until SLURM has sent it a signal, so that it cannot end earlier."""
    os.kill(pid, signal.SIGSTOP)
    yield
    # A preemption by TERM wakes the process first, so that it may have handled the signal by now.
    wait_for(lambda: waits(pid, told) or "which is saved" in _logs(runs))
    os.kill(pid, signal.SIGCONT)


def waits(pid: int, number: signal.Signals) -> bool:
    """Whether a signal is pending for a stopped process (proc(5), ShdPnd)."""
    match = re.search(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return match is not None and bool(int(match[1], 16) >> (number - 1) & 1)


def attempts(runs: Path) -> list[str]:
    """Return the lines of the jobs' logs that say that the autoencoder is trained: one for each time that it was."""
    logs = [path.read_text() for path in runs.glob("jobs/*/*_log.out")]
    return re.findall(r"autoencoder-\w+: 2,000 steps in", "\n".join(logs))


def assert_sweep_ends_well(
    process: "subprocess.Popen[str]", runs: Path, expected: dict[str, bytes], points: int = 3
) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    assert weights(runs).items() <= expected.items() and len(weights(runs)) == points + 1
    assert len(attempts(runs)) == 1, "trained once"
    verify = [sys.executable, "-m", "memlab.runs", "--runs-dir", str(runs), "verify"]
    result = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    return output


def test_points_share_a_stage_that_is_trained_once(start: Start, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    process = start(tmp_path, *SLURM, points=SIX)
    output = assert_sweep_ends_well(process, tmp_path, undisturbed, 6)
    assert output.count("submitted job") == 6
    assert len({line.split()[2].split("_")[0] for line in output.splitlines() if line.startswith("submitted")}) == 1, (
        "an array"
    )


def test_an_experiment_ends_with_its_report(tmp_path: Path, corpus: Path) -> None:
    command = [sys.executable, "-m", "memlab.run", *smoke(corpus, tmp_path), "+experiment=copy", *SLURM]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "copy, smoke: arms" in result.stdout, "the report's table"
    assert list(tmp_path.glob("reports/copy/*/report.md"))


def test_a_point_of_several_processes(start: Start, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    process = start(tmp_path, *SLURM, "trainer=cpu_ddp", "trainer.devices=2", points="scale.stages.memory.steps=10")
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    assert {*weights(tmp_path)} < {*undisturbed} and len(weights(tmp_path)) == 2


@pytest.fixture(params=[signal.SIGUSR2, signal.SIGTERM], ids=["USR2", "TERM"])
def preemption(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """The signal that SLURM sends to a job before a preemption: the one that the job asked for, or TERM."""
    path = Path("/etc/slurm/slurm.conf")
    before = path.read_text()
    if request.param == signal.SIGTERM:
        path.write_text(before.replace("SlurmctldParameters=preempt_send_user_signal\n", ""))
        subprocess.run(["scontrol", "reconfigure"], check=True)
    yield request.param
    if path.read_text() != before:
        path.write_text(before)
        subprocess.run(["scontrol", "reconfigure"], check=True)


def test_a_preempted_job_goes_on(
    preemption: signal.Signals, start: Start, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    process = start(tmp_path, *SLURM, "hydra.launcher.array_parallelism=2")
    trainer = trainer_of(tmp_path)
    everything = [f"--job-name={NAME}", f"--cpus-per-task={os.cpu_count()}", "--output=/dev/null", "--wrap=sleep 3"]
    with held_until_told(trainer["pid"], tmp_path, preemption):
        subprocess.run(["sbatch", "--partition=high", *everything], check=True)
    assert_sweep_ends_well(process, tmp_path, undisturbed)
    assert "which is saved" in _logs(tmp_path), f"job {trainer['job']} was told"


def test_a_requeued_job_goes_on(start: Start, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    process = start(tmp_path, *SLURM)
    subprocess.run(["scontrol", "requeue", trainer_of(tmp_path)["job"]], check=True)
    assert_sweep_ends_well(process, tmp_path, undisturbed)


def test_a_killed_job_is_replaced(start: Start, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """Its point fails with a message, another job takes its stage over, and the same command finishes the point."""
    process = start(tmp_path, *SLURM)
    os.kill(trainer_of(tmp_path)["pid"], signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1 and "ended without a result" in output, output
    assert_sweep_ends_well(start(tmp_path, *SLURM), tmp_path, undisturbed)


def test_a_job_at_its_time_limit_goes_on(start: Start, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """SLURM checks limits only every half minute.

    So the job asks for its signal minutes ahead of the limit, and the limit is lowered while the job runs.
    """
    process = start(tmp_path, *SLURM, "hydra.launcher.signal_delay_s=290")
    trainer = trainer_of(tmp_path)
    with held_until_told(trainer["pid"], tmp_path, signal.SIGUSR2):
        subprocess.run(["scontrol", "update", f"JobId={trainer['job']}", "TimeLimit=5"], check=True)
    assert_sweep_ends_well(process, tmp_path, undisturbed)
    assert "Caught signal SIGUSR2" in _logs(tmp_path) and "which is saved" in _logs(tmp_path)


def test_a_job_script_of_ones_own_goes_on(tmp_path: Path, corpus: Path, undisturbed: dict[str, bytes]) -> None:
    """The script of docs/slurm.md: SLURM sends the signal, and memlab requeues the job."""
    command = [sys.executable, "-m", "memlab.run", *smoke(corpus, tmp_path), *SWEEP, THREE]
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\nsrun {shlex.join(command)}\n")
    options = ["--signal=USR1@120", "--requeue", "--open-mode=append", f"--output={tmp_path}/job.log"]
    subprocess.run(["sbatch", f"--job-name={NAME}", *options, str(script)], check=True, cwd=ROOT)
    job = trainer_of(tmp_path)["job"]
    subprocess.run(["scancel", "--signal=USR1", job], check=True)  # to the job's steps, as before a limit
    wait_for(lambda: "the job is in the queue again" in (tmp_path / "job.log").read_text())
    wait_for(lambda: not queue(), 300)
    assert weights(tmp_path).items() <= undisturbed.items() and len(weights(tmp_path)) == 4


def test_a_killed_launcher_leaves_its_jobs(start: Start, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    process = start(tmp_path, *SLURM)
    trainer_of(tmp_path)
    process.kill()
    process.wait()
    time.sleep(1)
    assert queue()
    assert_sweep_ends_well(start(tmp_path, *SLURM), tmp_path, undisturbed)


def _logs(runs: Path) -> str:
    return "\n".join(path.read_text() for path in runs.glob("jobs/*/*_log.*"))

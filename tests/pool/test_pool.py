"""A sweep in several processes of this machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Command, smoke, wait_for
from tests.faults import workers_of

ARMS = ("+experiment=copy_curriculum", "arm=no_memory,direct_copy,blank_copy,curriculum")
DIVERGES = "arms.no_memory='encoder=none objective=copy optimizer.lr=1e30'"
TWO = "hydra.launcher.parallel=2"
LONG = (
    "scale.stages.autoencoder.steps=100000", "scale.stages.memory.steps=100000", "trainer.checkpoint_every=10",
    "arms.no_memory='encoder=none objective=copy'",
)  # fmt: skip
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(corpus: Path, environment: dict[str, str], tmp_path: Path) -> Start:
    def start(*overrides: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "memlab.run", *smoke(corpus, tmp_path), *overrides]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)

    return start


def weights(runs: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in runs.glob("stages/*/model.safetensors")}


def checkpoints(runs: Path) -> set[str]:
    """Return the stages that have a checkpoint."""
    return {path.parent.parent.name for path in runs.glob("stages/*/checkpoints/step-*.ckpt")}


@pytest.mark.slow
def test_workers_have_the_weights_of_one_process_and_share_a_stage(memlab: Command, tmp_path: Path) -> None:
    """Also four workers where there are perhaps fewer cores."""
    alone = memlab(*ARMS, "hydra/launcher=basic", "trainer.threads=1", runs=tmp_path / "alone")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    for parallel in (2, 4):
        runs = tmp_path / str(parallel)
        result = memlab(*ARMS, f"hydra.launcher.parallel={parallel}", "trainer.threads=1", runs=runs)
        assert result.returncode == 0, result.stdout + result.stderr
        lines = result.stdout.splitlines()
        assert f"4 points in {parallel} workers, 1 thread each" in lines
        assert sum("autoencoder-" in line and "steps in" in line for line in lines) == 1, "trained once"
        assert "in short: " in result.stdout and list(runs.glob("reports/copy_curriculum/*/report.md"))
        assert weights(runs) == weights(tmp_path / "alone")


def test_a_stage_that_fails_is_named_and_the_others_are_reported(memlab: Command, tmp_path: Path) -> None:
    result = memlab(
        "+experiment=copy_curriculum", "arm=no_memory,trainable", DIVERGES, "trainer.log_every=1", TWO, runs=tmp_path
    )
    assert result.returncode == 1
    assert "not finite" in result.stderr and "Traceback" not in result.stderr
    assert len(list(tmp_path.glob("stages/*/finished.json"))) == 1
    assert list(tmp_path.glob("reports/copy_curriculum/*/report.md"))


def test_an_error_of_the_code_shows_its_traceback_and_the_others_go_on(
    memlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    (tmp_path / "of_mine.py").write_text(
        "from memlab.objectives import Copy\n"
        "class Fails(Copy):\n"
        "    def losses(self, *arguments, draw=None, **options):\n"
        "        assert draw is None, 'a mistake in the code'\n"
        "        return super().losses(*arguments, draw=draw, **options)\n"
    )
    monkeypatch.setitem(environment, "PYTHONPATH", f"{environment['PYTHONPATH']}{os.pathsep}{tmp_path}")
    fails = "arms.no_memory='encoder=none objective=copy objective._target_=of_mine.Fails'"
    runs = tmp_path / "runs"
    result = memlab("+experiment=copy_curriculum", "arm=no_memory,trainable", fails, TWO, runs=runs)
    assert result.returncode == 1
    assert result.stderr.count("Traceback") == 1 and "of_mine.py" in result.stderr
    assert "AssertionError: a mistake in the code (its traceback is above)" in result.stderr
    assert len(list(runs.glob("stages/*/finished.json"))) == 1


@pytest.mark.parametrize("signum", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_saves_in_all_workers_and_ends_the_command(start: Start, tmp_path: Path, signum: int) -> None:
    process = start(*ARMS, *LONG, TWO)
    try:
        wait_for(lambda: len(checkpoints(tmp_path)) == 2)
        if signum == signal.SIGINT:
            os.killpg(process.pid, signum)  # as a terminal does
        else:
            process.send_signal(signum)
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 128 + signum, output
    assert output.count("which is saved") == 2 and "run the same command again" in output
    assert "Traceback" not in output and not list(tmp_path.glob("stages/*/.lock"))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for a process's children")
def test_a_killed_worker_is_replaced_and_its_stage_goes_on(start: Start, tmp_path: Path) -> None:
    process = start(*ARMS, *LONG, TWO)
    try:
        wait_for(lambda: len(checkpoints(tmp_path)) == 2)
        before = workers_of(process.pid)
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(now := workers_of(process.pid)) == 2 and set(now) != set(before))
        step = max(tmp_path.glob("stages/*/checkpoints/step-*.ckpt")).name
        wait_for(lambda: max(tmp_path.glob("stages/*/checkpoints/step-*.ckpt")).name > step)
        process.terminate()
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert "its process was killed, perhaps for want of memory: it goes on from its last checkpoint" in output
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for a process's children")
@pytest.mark.slow
def test_workers_save_and_end_when_their_command_is_killed(start: Start, tmp_path: Path) -> None:
    process = start(*ARMS, *LONG, TWO)
    try:
        wait_for(lambda: len(checkpoints(tmp_path)) == 2)
        workers = workers_of(process.pid)
    finally:
        process.kill()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert not list(tmp_path.glob("stages/*/.lock")), "they have ended by themselves"


@pytest.mark.slow
def test_one_core_has_one_worker(start: Start, tmp_path: Path) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("asks Linux for a single core")
    mask = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mask)})
    try:
        process = start("+experiment=copy_curriculum", "arm=no_memory,trainable")
    finally:
        os.sched_setaffinity(0, mask)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "workers" not in output and "point 2 of 2" in output

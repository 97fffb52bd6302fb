"""What ends a command and what only ends a point, in one process of it."""

import os
import signal
import sys
from typing import Any

import pytest

from memlab import run, sweep
from memlab.processes import ranks
from memlab.sweep import Session
from memlab.training import pipeline
from memlab.training.guard import DivergedError


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_signal_ahead_of_the_first_stage(
    signum: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is there to save: the command ends at once, by the status of the signal, with a message."""
    monkeypatch.setattr(run, "compose_sweep", lambda _: os.kill(os.getpid(), signum))
    monkeypatch.setattr(sys, "argv", ["memlab"])
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID"):  # a job that runs the tests is not to be requeued
        monkeypatch.delenv(name, raising=False)
    before = signal.getsignal(signum)
    with pytest.raises(SystemExit) as end:
        run.main()
    assert end.value.code == 128 + signum
    assert "run the same command again" in capsys.readouterr().err
    assert signal.getsignal(signum) == before


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a point of a sweep whose training raises an error, with a number of processes."""

    def call(error: Exception, world: int) -> list[str]:
        def run_chain(*_: Any) -> None:
            raise error

        monkeypatch.setattr(pipeline, "run_chain", run_chain)
        monkeypatch.setattr(ranks, "world", lambda: world)
        monkeypatch.setattr(sweep, "is_sweep", lambda: True)
        monkeypatch.setattr(sweep, "explain", str)
        session = Session()
        assert session._run([], wait=False)
        return session.failures

    return call


@pytest.mark.parametrize(("error", "world"), [(MemoryError("full"), 1), (DivergedError("at step 3"), 2)])
def test_a_point_fails_and_the_next_one_follows(failing: Any, error: Exception, world: int) -> None:
    assert failing(error, world) == [str(error)]


def test_an_error_that_one_of_several_processes_may_have_met_alone_ends_the_command(failing: Any) -> None:
    """The others wait for it in the midst of the point: going on to the next one would be two points at once."""
    with pytest.raises(MemoryError):
        failing(MemoryError("full"), 2)

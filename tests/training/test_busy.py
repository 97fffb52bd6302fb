"""Other processes need the cores while a stage trains."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.processes import ending
from memlab.processes.machine import choose_waiting
from memlab.processes.signals import RESTART, Stopped, signals
from memlab.sweep import run_points
from memlab.training import busy
from tests.conftest import ROOT, smoke

STAGE = ("encoder=none", "scale.stages.memory.steps=30", "trainer.validate_windows=2", "trainer.evaluate_windows=2")


class Crowd:
    """Others that use so many cores from the tenth question on; the steps become slower at that moment."""

    def __init__(self, cores: float, slower: float) -> None:
        self.asked = 0
        self.busy = cores
        self.slower = slower

    def cores(self) -> float:
        self.asked += 1
        return self.busy if self.asked > 10 else 0.0

    def now(self) -> float:
        """Return a clock's time by which every look comes `EVERY` seconds and one step after the one before."""
        self.time = getattr(self, "time", 0.0) + busy.EVERY * (self.slower if self.asked >= 10 else 1.0)
        return self.time


@pytest.fixture(autouse=True)
def restartable() -> Iterator[None]:
    signals.restartable = True
    yield
    signals.restartable, signals.pending = False, None


def train(runs: Path, corpus: Path, crowd: Crowd, monkeypatch: pytest.MonkeyPatch, threads: int = 2) -> list[Any]:
    monkeypatch.setattr(busy, "Others", lambda: crowd)
    monkeypatch.setattr(busy, "time", type("Clock", (), {"monotonic": staticmethod(crowd.now)}))
    chains = plan_all(compose_sweep([*smoke(corpus, runs), *STAGE]).configs)
    run_points(chains, threads)
    return chains


def test_the_command_asks_to_be_restarted_with_everything_saved_and_has_the_same_weights(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stopped) as stopped:
        train(tmp_path / "busy", corpus, Crowd(1.0, slower=2.0), monkeypatch)
    assert stopped.value.signum == RESTART
    checkpoint = max((tmp_path / "busy").glob("stages/*/checkpoints/step-*.ckpt"))
    assert 5 < int(checkpoint.stem.removeprefix("step-")) < 30
    signals.restartable = False
    resumed = train(tmp_path / "busy", corpus, Crowd(1.0, slower=2.0), monkeypatch)
    whole = train(tmp_path / "idle", corpus, Crowd(0.0, slower=1.0), monkeypatch)
    assert resumed[0].jobs[0].folder.weights.read_bytes() == whole[0].jobs[0].folder.weights.read_bytes()


@pytest.mark.parametrize(
    ("cores", "slower", "threads", "allowed"),
    [(0.1, 2.0, 2, True), (1.0, 1.2, 2, True), (1.0, 2.0, 1, True), (1.0, 2.0, 2, False)],
    ids=["idle machine", "hardly slower", "one thread", "nobody would restart it"],
)
def test_otherwise_it_goes_on(
    cores: float,
    slower: float,
    threads: int,
    allowed: bool,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signals.restartable = allowed
    assert train(tmp_path, corpus, Crowd(cores, slower), monkeypatch, threads)[0].jobs[0].done


def test_a_restart_becomes_the_same_command_with_threads_that_do_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *how: started.append((*how, os.environ["OMP_WAIT_POLICY"])))
    monkeypatch.setattr(sys, "argv", ["memlab", "scale=smoke", "seed=0"])
    with pytest.raises(SystemExit):  # execv does not return
        ending.end(Stopped(RESTART))
    command = [sys.executable, "-m", "memlab.run", "scale=smoke", "seed=0"]
    assert started == [(sys.executable, command, "passive")]


def test_nothing_that_was_printed_is_lost_in_a_restart() -> None:
    code = (
        "import sys\n"
        "from memlab.processes import ending\n"
        "from memlab.processes.signals import RESTART, Stopped\n"
        "ending.this_command = lambda: [sys.executable, '-c', 'print(\\'second\\')']\n"
        "print('first')\n"
        "ending.end(Stopped(RESTART))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["first", "second"]


def test_threads_spin_unless_somebody_has_chosen_or_needs_the_cores() -> None:
    nobody: dict[str, str] = {}
    assert choose_waiting(nobody, asleep=False) and not nobody
    assert not choose_waiting(nobody, asleep=True) and nobody == {"OMP_WAIT_POLICY": "passive"}
    user = {"GOMP_SPINCOUNT": "7"}
    assert not choose_waiting(user, asleep=True) and user == {"GOMP_SPINCOUNT": "7"}

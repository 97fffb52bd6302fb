"""What ends a command and what only ends a point, in one process of it; what a sweep refuses."""

import os
import signal
import sys
from pathlib import Path

import pytest

from memlab import run
from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.errors import UserError
from memlab.sweep import require_possible, run_points
from tests.conftest import Command, smoke

EXPERIMENT = "+experiment=copy_curriculum"
DIVERGES = "arms.no_memory='encoder=none objective=copy optimizer.lr=1e30'"
SHORT = (
    "scale.stages.memory.steps=3",
    "trainer.log_every=1",
    "trainer.evaluate_windows=4",
    "trainer.validate_windows=4",
)
# An objective of a user's own that fails in one of two processes alone.
FAILS_IN_ONE = """
from memlab.objectives import Copy
from memlab.processes import ranks

class FailsInOne(Copy):
    def losses(self, *arguments, draw=None, **options):
        if draw is not None and ranks.rank() == 1:
            raise MemoryError("the second process has none left")
        return super().losses(*arguments, draw=draw, **options)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_signal_ahead_of_the_first_stage(
    signum: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is there to save: the command ends at once, by the status of the signal, with a message."""
    monkeypatch.setattr(run, "compose_sweep", lambda _: os.kill(os.getpid(), signum))
    monkeypatch.setattr(sys, "argv", ["memlab"])
    before = signal.getsignal(signum)
    with pytest.raises(SystemExit) as end:
        run.main()
    assert end.value.code == 128 + signum
    assert "run the same command again" in capsys.readouterr().err
    assert signal.getsignal(signum) == before


def test_a_point_fails_and_the_next_one_follows(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = "arm=no_memory,trainable"
    chains = plan_all(compose_sweep([*smoke(corpus, tmp_path), *SHORT, EXPERIMENT, arms, DIVERGES]).configs)
    (failure,) = run_points(chains)
    assert "not finite" in failure
    assert "Going on with the next point." in capsys.readouterr().err
    assert [chain.jobs[-1].done for chain in chains] == [False, True]


def test_an_error_that_one_of_several_processes_may_have_met_alone_ends_the_command(
    memlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """The others wait for it in the midst of the point: going on to the next one would be two points at once."""
    (tmp_path / "of_mine.py").write_text(FAILS_IN_ONE)
    monkeypatch.setitem(environment, "PYTHONPATH", f"{environment['PYTHONPATH']}{os.pathsep}{tmp_path}")
    runs = tmp_path / "runs"
    result = memlab("seed=0,1", "trainer=cpu_ddp", "objective._target_=of_mine.FailsInOne", *SHORT, runs=runs)
    assert result.returncode not in (0, 2)
    assert "the second process has none left" in result.stderr or "out of memory" in result.stderr
    assert len(list(runs.glob("stages/*"))) == 1, "the second point is not begun"
    assert not list(runs.glob("stages/*/finished.json"))


def test_points_that_a_report_cannot_tell_apart_are_refused(corpus: Path, tmp_path: Path) -> None:
    sweep = compose_sweep([*smoke(corpus, tmp_path), EXPERIMENT, "arm=trainable", "scale.width=32,64"])
    with pytest.raises(UserError, match="architecture=mixer arm=trainable seed=0"):
        require_possible(sweep, plan_all(sweep.configs))


def test_points_without_an_experiment_need_not_be_told_apart(corpus: Path, tmp_path: Path) -> None:
    sweep = compose_sweep([*smoke(corpus, tmp_path), "scale.width=32,64"])
    require_possible(sweep, plan_all(sweep.configs))


def test_every_stage_is_looked_at_before_the_first_one_trains(corpus: Path, tmp_path: Path) -> None:
    """The mistake is in the last arm's last stage."""
    wrong = "arms.trainable='encoder=frozen_autoencoder objective=copy objective.hand_over=2'"
    sweep = compose_sweep([*smoke(corpus, tmp_path), EXPERIMENT, "arm=no_memory,trainable", wrong])
    with pytest.raises(UserError, match="hand_over=2"):
        require_possible(sweep, plan_all(sweep.configs))
    assert not list(tmp_path.iterdir())


def test_a_launcher_of_hydra_s_own_is_refused_by_name(corpus: Path, tmp_path: Path) -> None:
    other = ("hydra/launcher=local", "hydra.launcher._target_=hydra_plugins.hydra_joblib_launcher.JoblibLauncher")
    sweep = compose_sweep([*smoke(corpus, tmp_path), *other])
    with pytest.raises(UserError, match="take basic, local or slurm"):
        require_possible(sweep, plan_all(sweep.configs))


@pytest.mark.parametrize("parallel", ["0", "-1", "many", "1.5"])
def test_a_number_of_workers_that_cannot_be_is_refused(parallel: str, corpus: Path, tmp_path: Path) -> None:
    sweep = compose_sweep([*smoke(corpus, tmp_path), f"hydra.launcher.parallel={parallel}"])
    with pytest.raises(UserError, match="parallel"):
        require_possible(sweep, plan_all(sweep.configs))


def test_an_experiment_without_claims_is_refused_before_it_trains(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [_sweep]\nexperiment: mine\narms: {first: encoder=none objective=clm}\n"
    )
    search = f'hydra.searchpath=["file://{tmp_path / "conf"}"]'
    sweep = compose_sweep([*smoke(corpus, tmp_path / "runs"), search, "+experiment=mine"])
    with pytest.raises(UserError, match="no experiment 'mine'"):
        require_possible(sweep, plan_all(sweep.configs))


def test_a_point_that_is_asked_for_twice_is_one_point(corpus: Path, tmp_path: Path) -> None:
    sweep = compose_sweep([*smoke(corpus, tmp_path), EXPERIMENT, "arm=no_memory", "seed=0,0,1"])
    assert [chain.choices["seed"] for chain in plan_all(sweep.configs)] == [0, 1]


def test_a_runs_folder_under_a_file_is_one_message(memlab: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = memlab(runs=tmp_path / "file" / "runs")
    assert result.returncode != 0
    assert "choose another folder with runs_dir=" in result.stderr and "Traceback" not in result.stderr

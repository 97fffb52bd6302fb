"""Stages that are broken off, told to stop, or another process's."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import pytest

from memlab.processes.signals import Stopped
from memlab.storage.lock import Lock, locked
from memlab.training import chain as chain_module
from memlab.training.chain import BusyError, run_chain
from memlab.training.estimate import Workload
from tests.training.chains import CURRICULUM, Killed, before_batch, kill, rows

RESUME = ("trainer.accumulate=2", "trainer.log_every=3", "trainer.validate_every=5", "trainer.checkpoint_every=2")


# 24: validation and checkpoint fall on the same step; 31: in the middle of an accumulated step.
@pytest.mark.parametrize("at_batch", [3, 24, 31, 39])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(chain: Any, tmp_path: Path, at_batch: int) -> None:
    (unbroken,) = chain("objective.hand_over=0.5", *RESUME, runs=tmp_path / "unbroken")
    run_chain([unbroken], Workload())
    (broken,) = chain("objective.hand_over=0.5", *RESUME, runs=tmp_path / "broken")
    with pytest.MonkeyPatch.context() as patch:
        before_batch(patch, at_batch, kill)
        with pytest.raises(Killed):
            run_chain([broken], Workload())
    assert not broken.folder.finished
    run_chain([broken], Workload())
    assert broken.folder.weights.read_bytes() == unbroken.folder.weights.read_bytes()
    assert rows(broken) == rows(unbroken)
    for file in unbroken.folder.evaluation_files():
        assert broken.folder.read_evaluation(file) == unbroken.folder.read_evaluation(file)


def test_a_corrupt_checkpoint_falls_back_to_the_one_before(
    chain: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (unbroken,) = chain(*RESUME, runs=tmp_path / "unbroken")
    run_chain([unbroken], Workload())
    (broken,) = chain(*RESUME, runs=tmp_path / "broken")
    with pytest.MonkeyPatch.context() as patch:
        before_batch(patch, 31, kill)
        with pytest.raises(Killed):
            run_chain([broken], Workload())
    newest, older = broken.folder.checkpoint_files()
    assert (newest.stem, older.stem) == ("step-000000014", "step-000000012")
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    run_chain([broken], Workload())
    assert "falling back to the checkpoint before" in capsys.readouterr().out
    assert broken.folder.weights.read_bytes() == unbroken.folder.weights.read_bytes()


def test_an_evaluation_broken_off_does_not_cost_the_training(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = chain()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain_module, "evaluate", lambda _: kill())
        with pytest.raises(Killed):
            run_chain([job], Workload())
    assert job.folder.weights.is_file() and not job.folder.finished
    monkeypatch.setattr(lightning.Trainer, "fit", lambda *_, **__: pytest.fail("trained again"))
    run_chain([job], Workload())
    assert job.folder.finished


def test_a_failed_stage_leaves_the_finished_ones_usable(chain: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        before_batch(patch, 15, kill)  # beyond the autoencoder's steps
        jobs = chain(*CURRICULUM, "scale.stages.autoencoder.steps=10")
        with pytest.raises(Killed):
            run_chain(jobs, Workload())
    assert [job.folder.finished for job in jobs] == [True, False, False]
    run_chain(jobs, Workload())
    assert all(job.folder.finished for job in jobs)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_saves_at_the_end_of_the_step(chain: Any, tmp_path: Path, signum: int) -> None:
    (unbroken,) = chain("trainer.accumulate=2", "trainer.log_every=3", runs=tmp_path / "unbroken")
    run_chain([unbroken], Workload())
    (job,) = chain("trainer.accumulate=2", "trainer.log_every=3", runs=tmp_path / "stopped")
    before = signal.getsignal(signum)
    with pytest.MonkeyPatch.context() as patch:
        # The first batch of two that make a step.
        before_batch(patch, 14, lambda: os.kill(os.getpid(), signum))
        with pytest.raises(Stopped) as stopped:
            run_chain([job], Workload())
    assert stopped.value.signum == signum and signal.getsignal(signum) == before
    assert stopped.value.asks_for_requeue == (signum in (signal.SIGUSR1, signal.SIGUSR2))
    assert job.folder.checkpoint_files()[0].stem == "step-000000008"
    assert not job.folder.lock.exists()
    run_chain([job], Workload())
    assert job.folder.weights.read_bytes() == unbroken.folder.weights.read_bytes()
    assert rows(job) == rows(unbroken)


def test_a_signal_in_an_evaluation_ends_it_at_once(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = chain()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain_module, "evaluate", lambda _: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped):
            run_chain([job], Workload())
    assert job.folder.weights.is_file() and not job.folder.finished
    monkeypatch.setattr(lightning.Trainer, "fit", lambda *_, **__: pytest.fail("trained again"))
    run_chain([job], Workload())


def test_a_lock_that_was_taken_over_ends_the_training_and_is_waited_for(
    chain: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when this process was cut off from a network file system, and another went on in its place."""
    (undisturbed,) = chain(runs=tmp_path / "undisturbed")
    run_chain([undisturbed], Workload())
    (job,) = chain(runs=tmp_path / "taken")

    @contextmanager
    def remembered(*arguments: Any, **options: Any) -> Iterator[Lock | None]:
        with locked(*arguments, **options) as lock:
            held.append(lock)
            yield lock

    def lose() -> None:
        if len(held) == 1:
            held[0].lost = True
            job.folder.lock.unlink()

    held: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain_module, "locked", remembered)
        before_batch(patch, 9, lose)
        run_chain([job], Workload())
    assert len(held) == 2
    assert "another process has taken over" in capsys.readouterr().out
    assert job.folder.weights.read_bytes() == undisturbed.folder.weights.read_bytes()
    assert rows(job) == rows(undisturbed)


def test_a_stage_of_another_process_is_not_waited_for_unless_asked(chain: Any) -> None:
    (job,) = chain()
    with locked(job.folder.lock, ""), pytest.raises(BusyError):
        run_chain([job], Workload(), wait=False)
    run_chain([job], Workload(), wait=False)
    assert job.done

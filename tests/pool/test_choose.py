"""The layout of a command on this machine."""

from pathlib import Path
from typing import Any

import pytest

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.config.stage import Chain
from memlab.pool import choose
from memlab.pool.choose import choose_layout
from memlab.pool.layout import Layout
from memlab.storage.files import read_json, write_json
from tests.conftest import smoke

SWEEP = ("+experiment=copy_curriculum", "arm=no_memory,trainable")


@pytest.fixture
def planned(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """planned(*overrides): chains on a machine of two cores whose user has chosen nothing."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(choose, "cores", lambda: 2)

    def plan(*overrides: str) -> list[Chain]:
        return plan_all(compose_sweep([*smoke(corpus, tmp_path), *overrides]).configs)

    return plan


def test_a_small_command_is_not_measured(planned: Any, tmp_path: Path) -> None:
    assert choose_layout(planned(*SWEEP), None) == Layout(2, 1)
    assert choose_layout(planned("seed=0"), None) == Layout(1, 1)
    assert not (tmp_path / "layouts.json").exists()


def test_a_large_one_is_measured_in_workers_and_the_answer_is_kept(
    planned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "SMALL", 0.0)
    chosen = choose_layout(planned(*SWEEP), None)
    (note,) = read_json(tmp_path / "layouts.json").values()
    assert chosen in (Layout(2, 1), Layout(1, 2)) and Layout(**note["layout"]) == chosen
    assert len(note["steps_per_second"]) == 2 and min(note["steps_per_second"]) > 0


def test_the_layout_stays_when_most_of_the_command_is_done(
    planned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same threads, and with them the same weights. The bound lies between all steps and a few of them."""
    chains = planned(*SWEEP)
    jobs = [job for chain in chains for job in chain.jobs]
    whole = sum(choose.flops_per_step(job.stage) * job.stage.training["steps"] for job in jobs)
    monkeypatch.setattr(choose, "SMALL", whole / 2)
    monkeypatch.setattr(choose, "_together", lambda layout, stage: {1: 1.0, 2: 5.0}[layout.threads])
    assert choose_layout(chains, None) == Layout(1, 2)
    for job in jobs:
        write_json(job.folder.path / "finished.json", {"fingerprint": job.folder.fingerprint})
        assert job.folder.finished
    assert choose_layout(chains, None) == Layout(1, 2)


def test_a_single_point_is_timed_in_a_process_that_is_prepared_to_train(
    planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's threads inherit how numbers next to zero are treated from the moment when they start."""
    done: list[str] = []
    monkeypatch.setattr(choose, "SMALL", 0.0)
    monkeypatch.setattr(choose, "prepare_cpu", lambda: done.append("prepared"))
    monkeypatch.setattr(choose, "seconds_per_step", lambda stage, threads: done.append("timed") or 1.0 / threads)
    assert choose_layout(planned("seed=0"), None) == Layout(1, 2)
    assert done == ["prepared", "timed"] * 2

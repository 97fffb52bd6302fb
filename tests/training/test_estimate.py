from pathlib import Path
from typing import Any

import pytest
import torch

from memlab import reproduce
from memlab.config.compose import compose_sweep
from memlab.config.plan import plan, plan_all
from memlab.config.stage import Chain
from memlab.storage.files import write_json
from memlab.storage.provenance import hardware
from memlab.training import estimate
from memlab.training.build import build_stage
from memlab.training.chain import run_chain
from memlab.training.dry_run import print_plan
from memlab.training.estimate import FIRST_GUESS, Workload, flops_per_step, seconds_left, seconds_per_flop
from tests.conftest import smoke
from tests.training.chains import DROPOUT, SHORT


def test_operations_are_counted_as_by_hand(corpus: Path, tmp_path: Path) -> None:
    """The causal mixer at smoke scale: D = 32, N = 1, L = 8, V = 300, 16 windows; backward costs twice forward."""
    causal = plan(compose_sweep([*smoke(corpus, tmp_path), "encoder=frozen_causal"]).configs[0]).jobs[0]
    width, length, vocab = 32, 8, 300
    projections = 2 * width * width * length
    mixing = width * length * length
    mlp = 2 * width * 4 * width * length
    head = width * vocab * (length - 1)
    assert flops_per_step(causal.stage) == 16 * 2 * 3 * (projections + mixing + mlp + head)


def test_batches_and_accumulation_multiply(corpus: Path, tmp_path: Path) -> None:
    def flops(*overrides: str) -> float:
        return flops_per_step(plan(compose_sweep([*smoke(corpus, tmp_path), *overrides]).configs[0]).jobs[-1].stage)

    assert flops("trainer.batch_size=8", "trainer.accumulate=2") == flops("trainer.batch_size=16") == 2 * flops(
        "trainer.batch_size=8"
    )  # fmt: skip


def test_a_shared_stage_counts_once(corpus: Path, tmp_path: Path) -> None:
    sweep = compose_sweep([*smoke(corpus, tmp_path), "+experiment=copy_curriculum"])
    workload = Workload()
    jobs = [job for chain in plan_all(sweep.configs) for job in chain.jobs]
    workload.add(jobs)
    assert len(workload.flops) == len({job.folder.path for job in jobs}) < len(jobs)


def finished(folder: Path, seconds: float, flops: float) -> Path:
    """Make a folder with the provenance of a run on this machine."""
    cost = {"seconds": seconds, "flops": flops, "steps": 1}
    provenance = {"hardware": hardware(), "threads": torch.get_num_threads(), **cost}
    write_json(folder / "provenance.json", provenance)
    return folder


def test_the_median_of_finished_runs_tells_the_pace(tmp_path: Path) -> None:
    folders = [finished(tmp_path / str(seconds), seconds, 2.0) for seconds in (1.0, 4.0, 30.0)]
    assert seconds_per_flop(folders) == 2.0


def test_runs_of_tiny_models_do_not_tell_the_pace_of_large_ones(tmp_path: Path) -> None:
    folders = [finished(tmp_path / "tiny", 1.0, 1.0), finished(tmp_path / "large", 10.0, 100.0)]
    assert seconds_per_flop(folders, least=50.0) == 0.1


def test_without_finished_runs_a_matrix_product_tells_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_matmul_flops", lambda: 400.0)
    assert seconds_per_flop([]) == 1 / (FIRST_GUESS * 400)


DAMAGED = ("", "{", "[]", "null", "{}", '{"seconds": "long"}')


def test_a_damaged_provenance_is_passed_over(tmp_path: Path) -> None:
    """It is no reason to end a dry run, `memlab.reproduce` or a progress bar."""
    folders = [finished(tmp_path / "whole", 3.0, 1.0), tmp_path / "nothing there"]
    for number, content in enumerate(DAMAGED):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        (folders[-1] / "provenance.json").write_text(content)
    for number, (seconds, flops) in enumerate([("1", 1.0), (1.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)]):
        folders.append(finished(tmp_path / f"values {number}", seconds, flops))  # type: ignore[arg-type]
    assert seconds_per_flop(folders) == 3.0


@pytest.mark.parametrize("content", DAMAGED)
def test_a_finished_run_with_a_damaged_provenance_is_planned_and_measured(
    chain: Any, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (job,) = chain(*SHORT)
    run_chain([job], Workload())
    job.folder.provenance.write_text(content)
    print_plan([Chain((job,), {"architecture": "mixer", "arm": "trainable", "seed": 0}, 0)])
    assert "finished, reused" in capsys.readouterr().out
    reproduce._print_plan({"copy": {str(job.folder.path): job}})
    assert seconds_left([job]) == 0
    (again,) = chain(*SHORT, "trainer.evaluate_windows=3")
    run_chain([again], Workload())
    assert again.done and "2 steps" in capsys.readouterr().out


@pytest.mark.parametrize("objective", ["clm", "copy", "combined", "blank_copy", "retrieval"])
def test_building_and_counting_leave_the_global_generator_alone(chain: Any, objective: str) -> None:
    model = ["model@curriculum.stages.main.model=chunk_encoder"] if objective == "retrieval" else []
    (job,) = chain(f"objective={objective}", *model, *DROPOUT)
    estimate._flops_per_window.cache_clear()
    estimate._matmul_flops.cache_clear()
    before = torch.get_rng_state()
    build_stage(job.stage)
    flops_per_step(job.stage)
    seconds_per_flop([])
    assert torch.equal(torch.get_rng_state(), before)

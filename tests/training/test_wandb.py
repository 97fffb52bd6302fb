"""Stages as offline runs of wandb: each row of metrics once, under names that a person can read."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.config.stage import Job
from memlab.processes.signals import Stopped
from memlab.storage.wandb_folder import id_of
from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
from memlab.training.wandb_names import run_name, shown_name
from tests.conftest import smoke, wait_for
from tests.training.chains import CURRICULUM, Killed, before_batch, kill
from tests.wandb_records import history, offline_runs, records

OFTEN = ("logger=wandb", "trainer.log_every=3", "trainer.validate_every=5", "trainer.checkpoint_every=4")


def expected(job: Job) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl by the names that wandb has for them."""
    return [{shown_name(key): value for key, value in row.items()} for row in job.folder.read_metrics()]


def assert_every_row_once(job: Job, run: Path) -> None:
    found, rows = history(run), expected(job)
    assert len(found) == len(rows) > 8
    for number, (ours, row) in enumerate(zip(found, rows, strict=True)):
        assert ours["_step"] == number
        assert {key: ours[key] for key in row} == pytest.approx(row, abs=1e-12)
    assert {
        record["glob_name"]: record["step_metric"] for record in records(run, "metric") if "glob_name" in record
    } == {section: "x/step" for section in ("val/*", "train/*", "speed/*", "memory/*", "encoder/*")}


def test_a_run_has_every_row_once_and_what_was_chosen(chain: Any, tmp_path: Path) -> None:
    (job,) = chain(*OFTEN)
    run_chain([job], Workload())
    (run,) = offline_runs(tmp_path)
    assert_every_row_once(job, run)
    rows = history(run)
    trained, validated = ([row for row in rows if key in row] for key in ("train/cross_entropy", "val/cross_entropy"))
    more = {"train/gradient_norm", "train/clipped", "train/learning_rate", "memory/peak_gib"}
    assert all(more | {"speed/tokens_per_second", "speed/share_of_peak"} <= set(row) for row in trained)
    assert all(0 < row["speed/share_of_peak"] < 1.5 for row in trained)
    assert all({"val/accuracy_at/2", "encoder/norm", "encoder/effective_rank"} <= set(row) for row in validated)
    (about, *_) = records(run, "run")
    assert about["display_name"] == "trainable copy / copy, mixer, seed 0"
    assert about["run_group"] == "single" and about["job_type"] == "copy"
    assert about["tags"] == ["mixer", "smoke", "trainable copy"]
    assert about["run_id"] == id_of(job.folder.path) and run.name.endswith(about["run_id"])
    config = about["config"]["update"]
    assert set(config) - {"_wandb"} == {"choices", "model", "objective", "training", "stage"}
    assert config["training"]["optimizer"]["lr"] == job.stage.training["optimizer"]["lr"]
    assert not (job.folder.path / "wandb").exists()


def test_reconstructions_are_shown_at_three_moments_with_wrong_tokens_marked(chain: Any, tmp_path: Path) -> None:
    (job,) = chain(*OFTEN)
    run_chain([job], Workload())
    rows = job.folder.read_reconstructions()
    assert [row["step"] for row in rows] == [5] * 4 + [10] * 4 + [20] * 4
    assert len({row["text"] for row in rows}) == 4 and all(row["wrong"] for row in rows[:4])
    assert all(("⟦" in row["regenerated"]) == bool(row["wrong"]) for row in rows)
    (run,) = offline_runs(tmp_path)
    tables = run.glob("files/media/table/val/reconstructions_*.json")
    last = max(tables, key=lambda path: int(path.name.split("_")[1]))
    content = json.loads(last.read_text())
    assert content["columns"] == ["step", "text", "regenerated", "wrong"]
    assert content["data"] == [[row[name] for name in content["columns"]] for row in rows]


def test_a_stopped_run_goes_on_under_its_id_with_every_row_once(chain: Any, tmp_path: Path) -> None:
    (job,) = chain(*OFTEN)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        before_batch(patch, 10, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        run_chain([job], Workload())
    (before,) = offline_runs(tmp_path)
    kept = id_of(job.folder.path)
    assert records(before, "exit"), "closed"
    run_chain([job], Workload())
    (run,) = offline_runs(tmp_path)
    assert kept == id_of(job.folder.path) and run.name.endswith(str(kept))
    assert_every_row_once(job, run)


def test_a_killed_run_has_every_row_once_after_it_has_resumed(
    chain: Any, corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """kill -9 behind a checkpoint: rows that were written since come again, and rows that wandb held back are lost."""
    steps = "scale.stages.memory.steps=400"
    (job,) = chain(*OFTEN, steps)
    command = [sys.executable, "-m", "memlab.run", *smoke(corpus, tmp_path), *OFTEN, steps]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: len(job.folder.read_metrics()) > 40)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not job.folder.weights.exists() and len(offline_runs(tmp_path)) == 1
    run_chain([job], Workload())
    (run,) = offline_runs(tmp_path)
    assert_every_row_once(job, run)


def test_a_run_that_an_older_version_began_in_its_own_folder_moves(chain: Any, tmp_path: Path) -> None:
    (job,) = chain(*OFTEN)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        before_batch(patch, 10, kill)
        run_chain([job], Workload())
    old = job.folder.path / "wandb" / "offline-run-20260101_000000-0123abcd"
    old.mkdir(parents=True)
    (job.folder.path / "wandb.json").write_text('{"id": "0123abcd"}')
    run_chain([job], Workload())
    (run,) = [path for path in offline_runs(tmp_path) if path.name.endswith("-0123abcd")]
    assert_every_row_once(job, run)
    assert not old.exists()


def test_a_damaged_id_is_replaced(chain: Any, tmp_path: Path) -> None:
    (job,) = chain("logger=wandb")
    job.folder.path.mkdir(parents=True)
    (job.folder.path / "wandb.json").write_text("{")
    run_chain([job], Workload())
    (run,) = offline_runs(tmp_path)
    assert run.name.endswith(str(id_of(job.folder.path)))


def test_a_stage_uses_the_weights_of_the_one_before(chain: Any, tmp_path: Path) -> None:
    jobs = chain("logger=wandb", *CURRICULUM)
    run_chain(jobs, Workload())
    uses: list[dict[str, str]] = []
    makes: list[dict[str, str]] = []
    for job in jobs:
        (run,) = [path for path in offline_runs(tmp_path) if path.name.endswith(str(id_of(job.folder.path)))]
        weights = [record for record in records(run, "artifact") if record["type"] == "model"]
        for found, used in ((uses, True), (makes, False)):
            found.append({r["name"]: r["digest"] for r in weights if bool(r.get("use_after_commit")) == used})
    names = [job.folder.path.name for job in jobs]
    assert [list(found) for found in makes] == [[name] for name in names]
    assert uses == [{}, makes[0], makes[1]], "autoencoder -> blank copy -> copy"


def test_logging_changes_nothing_that_is_trained(chain: Any, tmp_path: Path) -> None:
    weights = []
    for logger in ("none", "wandb", "wandb logger.mode=disabled"):
        runs = tmp_path / logger.split("=")[-1]
        (job,) = chain(*OFTEN[1:], *f"logger={logger}".split(), "encoder.freeze=false", runs=runs)
        run_chain([job], Workload())
        weights.append(job.folder.weights.read_bytes())
    assert weights[0] == weights[1] == weights[2]


def test_names_say_experiment_arm_stage_architecture_and_seed(corpus: Path, tmp_path: Path) -> None:
    arms = "arm=direct_copy,blank_copy,curriculum"
    sweep = compose_sweep([*smoke(corpus, tmp_path), "+experiment=copy_curriculum", arms, "seed=3"])
    names = dict.fromkeys(run_name(job) for chain in plan_all(sweep.configs) for job in chain.jobs)
    assert list(names) == [
        "copy_curriculum / direct_copy +2 / autoencoder, mixer, seed 3",
        "copy_curriculum / direct_copy / copy, mixer, seed 3",
        "copy_curriculum / blank_copy +1 / blank_copy, mixer, seed 3",
        "copy_curriculum / curriculum / copy, mixer, seed 3",
    ]

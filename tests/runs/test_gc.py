"""python -m memlab.runs gc: what it removes, what it keeps, and what changes while it works."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from memlab.report.of_sweep import COMMAND_FILE, POINTS_FILE
from memlab.runs import __main__ as command
from memlab.runs.remove import remove
from memlab.storage.lock import Lock
from tests.runs.conftest import Runs, stage


def age(path: Path) -> None:
    """Make a file, or a folder with its files, look old."""
    for part in (*(path.iterdir() if path.is_dir() else ()), path):
        os.utime(part, (0, 0))


def sweep_files(folder: Path) -> tuple[Path, Path]:
    [points] = folder.glob(f"reports/*/*/{POINTS_FILE}")
    return points, points.with_name(COMMAND_FILE)


def needed(folder: Path) -> list[Path]:
    return [stage(folder, "autoencoder"), *(folder / "stages").glob("copy-*")]


def test_gc_removes_what_no_sweep_needs_and_only_when_told(folder: Path, runs: Runs) -> None:
    own, rubbish = stage(folder, "clm"), needed(folder)[0] / ".weights.abc"
    for path in (rubbish, own / ".weights.def"):
        path.write_text("")
        age(path)
    listed = runs("gc")
    assert listed.status == 0, listed.err
    assert str(own) in listed.out and str(rubbish) in listed.out and "--delete" in listed.out
    assert not any(f"{path} " in listed.out for path in needed(folder)) and own.exists()
    kept = needed(folder)
    assert runs("gc", "--delete").status == 0
    assert not own.exists() and not rubbish.exists() and all(path.exists() for path in kept)
    assert list((folder / "data").glob("*/train.bin"))


def test_gc_removes_old_caches_and_old_texts_that_no_run_was_measured_on(folder: Path, runs: Runs) -> None:
    (text,) = (folder / "data").iterdir()
    for name in ("measured-on", "unused", "prepared-just-now"):
        shutil.copytree(text, folder / "data" / name)
        (folder / "data" / name / "train.bin").unlink()  # as a text to evaluate on has none
        age(folder / "data" / name)
    (folder / "data" / "prepared-just-now" / "train.bin").write_text("")
    age(text)
    own = stage(folder, "copy")
    (own / "evaluation-score-other.json").write_text(json.dumps({"settings": {"data": "measured-on"}}))
    (folder / "embeddings").mkdir(exist_ok=True)
    for name in ("new.values", "old.values"):
        (folder / "embeddings" / name).write_text("")
    age(folder / "embeddings" / "old.values")
    assert runs("gc", "--delete").status == 0
    assert {path.name for path in (folder / "data").iterdir()} == {text.name, "measured-on", "prepared-just-now"}
    assert [path.name for path in (folder / "embeddings").iterdir()] == ["new.values"]


def test_gc_keeps_what_a_process_works_on(folder: Path, runs: Runs) -> None:
    own = stage(folder, "clm")
    (own / ".lock").write_text(json.dumps({"token": "t", "host": "elsewhere", "pid": 1}))
    result = runs("gc", "--delete")
    assert result.status == 0 and own.exists() and own.name not in result.out
    age(own / ".lock")
    assert runs("gc", "--delete").status == 0 and not own.exists(), "that process is dead"


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], object]], None]:
    """meanwhile(act): act(path) happens between the listing of a path and its removal."""

    def between(act: Callable[[Path], object]) -> None:
        size = command._megabytes
        monkeypatch.setattr(command, "_megabytes", lambda path: (act(path), size(path))[1])

    return between


def test_a_run_that_a_process_takes_up_meanwhile_is_kept(
    folder: Path, runs: Runs, meanwhile: Callable[[Callable[[Path], object]], None]
) -> None:
    own, locks = stage(folder, "clm"), []

    def take(path: Path) -> None:
        locks.append(Lock(path / ".lock"))
        assert locks[-1].take()

    meanwhile(take)
    result = runs("gc", "--delete")
    for lock in locks:
        lock.release()
    assert len(locks) == 1 and result.status == 0
    assert (own / "finished.json").is_file() and f"kept: {own}" in result.out


@pytest.mark.parametrize("touch", [True, False])
def test_a_text_that_a_run_takes_up_meanwhile_is_kept(
    folder: Path, runs: Runs, meanwhile: Callable[[Callable[[Path], object]], None], touch: bool
) -> None:
    """It is prepared again, or a config names it."""
    text = folder / "data" / "unused"
    text.mkdir()
    age(text)
    shutil.rmtree(stage(folder, "clm"))
    named = folder / "stages" / "copy-0123456789ab" / "config.yaml"

    def use(path: Path) -> None:
        assert path == text
        if touch:
            os.utime(path)
        else:
            named.parent.mkdir()
            named.write_text(json.dumps({"stage": {"data": {"hash": "unused"}}}))

    meanwhile(use)
    result = runs("gc", "--delete")
    assert result.status == 0 and text.is_dir() and f"kept: {text}" in result.out


def offline_run(folder: Path, run_id: str, of: Path | None = None) -> Path:
    """An offline run of wandb, of a stage or a report where one is given; old."""
    run = folder / "wandb" / f"offline-run-20260101_000000-{run_id}"
    run.mkdir(parents=True)
    (run / f"run-{run_id}.wandb").write_text("")
    if of is not None:
        (of / "wandb.json").write_text(json.dumps({"id": run_id}))
    age(run)
    return run


def test_offline_runs_go_with_what_they_show(folder: Path, runs: Runs) -> None:
    own = offline_run(folder, "clm-0-0123", of=stage(folder, "clm"))
    kept = offline_run(folder, "copy-0-0123", of=needed(folder)[0])
    report = offline_run(folder, "report-0123", of=sweep_files(folder)[0].parent)
    gone, young = offline_run(folder, "copy-0-4567"), offline_run(folder, "copy-0-89ab")
    os.utime(young)
    listed = runs("gc")
    assert f"left over: {gone} " in listed.out
    assert not any(f"{path} " in listed.out for path in (own, kept, report, young)), "own goes with its stage"
    assert runs("gc", "--delete").status == 0
    assert {*(folder / "wandb").iterdir()} == {kept, report, young}
    assert runs("verify").status == 0, "neither is a file of a run folder that must be there"


def test_a_lock_is_not_left_behind(folder: Path) -> None:
    own = stage(folder, "clm")
    assert remove(own, folder)
    assert not own.exists()


def test_a_damaged_command_leaves_the_points_that_the_sweep_wrote(folder: Path, runs: Runs) -> None:
    sweep_files(folder)[1].write_text("{")
    kept = needed(folder)
    assert runs("gc", "--delete").status == 0
    assert all(path.exists() for path in kept) and not list((folder / "stages").glob("clm-*"))


def test_nothing_is_removed_that_an_unreadable_sweep_may_need(folder: Path, runs: Runs) -> None:
    for path in sweep_files(folder):
        path.write_text("{")
    before = sorted((folder / "stages").iterdir())
    listed = runs("gc")
    report = str(sweep_files(folder)[0].parent)
    assert listed.status == 0 and f"{report}: cannot tell which runs it needs" in listed.out
    result = runs("gc", "--delete")
    assert result.status == 2 and result.err.count("\n") == 1 and report in result.err
    assert sorted((folder / "stages").iterdir()) == before

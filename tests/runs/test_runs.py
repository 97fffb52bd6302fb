"""python -m memlab.runs on folders in every state."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memlab.storage.run_folder import RunFolder
from tests.conftest import Command

Runs = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def made(memlab: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with a sweep of two points, and a run of its own."""
    runs = tmp_path_factory.mktemp("made")
    assert memlab("+experiment=copy_curriculum", "arm=no_memory,direct_copy", runs=runs).returncode == 0
    assert memlab("objective=clm", runs=runs).returncode == 0
    return runs


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


@pytest.fixture
def runs(folder: Path, environment: dict[str, str]) -> Runs:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "memlab.runs", "--runs-dir", str(folder), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return call


def stage(folder: Path, name: str) -> Path:
    return next((folder / "stages").glob(f"{name}-*"))


def test_every_state_is_listed(folder: Path, runs: Runs) -> None:
    assert runs("list").stdout.count("finished") == len(list((folder / "stages").iterdir())) + 1
    clm, autoencoder = stage(folder, "clm"), stage(folder, "autoencoder")
    (clm / "finished.json").unlink()
    assert "stopped" in runs("list").stdout
    RunFolder(folder, *clm.name.split("-")).note_failure("the disk was full")
    assert "the disk was full" in runs("list").stdout
    here = {
        "token": "t",
        "host": os.uname().nodename,
        "pid": 2**22 + 1,
        "started": "1",
        "boot": None,
        "namespace": None,
    }
    (autoencoder / ".lock").write_text(json.dumps(here | {"host": "elsewhere"}))
    assert "1 running" in runs("list").stdout and "elsewhere" in runs("list").stdout
    os.utime(autoencoder / ".lock", (0, time.time() - 3600))
    assert "1 stale" in runs("list").stdout


def test_one_is_shown(folder: Path, runs: Runs) -> None:
    shown = runs("show", stage(folder, "clm").name).stdout
    assert "state: finished" in shown and "token_accuracy" in shown and "chunk_length: 8" in shown
    many = runs("show", "copy")
    assert many.returncode == 2 and "give the name of one" in many.stderr


def test_gc_removes_what_no_sweep_needs_and_only_when_told(folder: Path, runs: Runs) -> None:
    needed = [stage(folder, "autoencoder"), *(folder / "stages").glob("copy-*")]
    own, rubbish = stage(folder, "clm"), needed[0] / ".weights.abc"
    for path in (rubbish, own / ".weights.def"):
        path.write_text("")
        os.utime(path, (0, 0))
    listed = runs("gc")
    assert listed.returncode == 0, listed.stderr
    assert str(own) in listed.stdout and str(rubbish) in listed.stdout and "--delete" in listed.stdout
    assert not any(f"{path} " in listed.stdout for path in needed) and own.exists()
    assert runs("gc", "--delete").returncode == 0
    assert not own.exists() and not rubbish.exists() and all(path.exists() for path in needed)
    assert list((folder / "data").glob("*/train.bin"))


def test_gc_removes_old_embeddings_and_texts_that_no_run_was_measured_on(folder: Path, runs: Runs) -> None:
    (text,) = (folder / "data").iterdir()
    for name in ("measured-on", "unused"):
        shutil.copytree(text, folder / "data" / name)
        (folder / "data" / name / "train.bin").unlink()  # as a text to evaluate on has none
    own = stage(folder, "copy")
    evaluation = json.loads((own / "evaluation.json").read_text())
    evaluation["settings"]["data"] = "measured-on"
    (own / "evaluation-other.json").write_text(json.dumps(evaluation))
    (folder / "embeddings").mkdir()
    for name, time_ in (("new.values", time.time()), ("old.values", 0)):
        (folder / "embeddings" / name).write_text("")
        os.utime(folder / "embeddings" / name, (0, time_))
    assert runs("gc", "--delete").returncode == 0
    assert {path.name for path in (folder / "data").iterdir()} == {text.name, "measured-on"}
    assert [path.name for path in (folder / "embeddings").iterdir()] == ["new.values"]


def test_gc_keeps_what_a_process_works_on(folder: Path, runs: Runs) -> None:
    own = stage(folder, "clm")
    (own / ".lock").write_text(json.dumps({"token": "t", "host": "elsewhere", "pid": 1}))
    assert runs("gc", "--delete").returncode == 0 and own.exists()


def test_whole_folders_are_found_whole(runs: Runs) -> None:
    result = runs("verify")
    assert result.returncode == 0 and "all whole" in result.stdout, result.stdout


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: _flip(path / "model.safetensors"), "not those that were written"),
        (lambda path: (path / "model.safetensors").unlink(), "cannot be read"),
        (lambda path: (path / "evaluation.json").write_text("{"), "evaluation.json cannot be read"),
        (lambda path: (path / "evaluation.json").unlink(), "evaluation.json is missing"),
        (lambda path: (path / "metrics.jsonl").write_text(""), "has no rows"),
        (lambda path: (path / "provenance.json").unlink(), "provenance.json cannot be read"),
        (lambda path: (path / "config.yaml").write_text("stage: {}"), "not of the stage"),
        (lambda path: (path / "config.yaml").write_text("stage: ["), "config.yaml cannot be read"),
    ],
)
def test_damage_is_found(folder: Path, runs: Runs, damage: Callable[[Path], None], message: str) -> None:
    path = stage(folder, "clm")
    damage(path)
    result = runs("verify")
    assert result.returncode == 1, result.stdout + result.stderr
    assert str(path) in result.stdout and message in result.stdout
    assert "1 problems" in result.stdout


def test_a_checkpoint_before_a_broken_one_is_enough(folder: Path, runs: Runs) -> None:
    path = stage(folder, "clm")
    (path / "finished.json").unlink()
    (path / "checkpoints").mkdir(exist_ok=True)
    (path / "checkpoints" / "step-000000020.ckpt").write_bytes(b"half")
    assert "no checkpoint is whole" in runs("verify").stdout
    (path / ".lock").write_text(json.dumps({"token": "t", "host": "elsewhere", "pid": 1}))
    assert "all whole" in runs("verify").stdout, "a running one is left alone"
    os.utime(path / ".lock", (0, 0))
    assert "no checkpoint is whole" in runs("verify").stdout, "a stale one is not"


def test_a_folder_without_runs(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "memlab.runs", "--runs-dir", str(tmp_path), "list"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and "is not a runs folder" in result.stderr

"""python -m memlab.runs list, show and verify on folders in every state."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memlab.runs.__main__ import SCORE
from memlab.storage.run_folder import RunFolder
from tests.runs.conftest import Runs, stage

HEAVY = {
    "torch",
    "lightning",
    "scipy",
    "matplotlib",
    "hydra",
    "omegaconf",
    "numpy",
    "datasets",
    "transformers",
    "wandb",
}


def test_every_state_is_listed(folder: Path, runs: Runs) -> None:
    assert runs("list").out.count("finished") == len(list((folder / "stages").iterdir())) + 1
    clm, autoencoder = stage(folder, "clm"), stage(folder, "autoencoder")
    (clm / "finished.json").unlink()
    assert "stopped" in runs("list").out
    RunFolder(folder, *clm.name.split("-")).note_failure("the disk was full")
    assert "the disk was full" in runs("list").out
    elsewhere = {"token": "t", "host": "elsewhere", "pid": 1, "started": "1", "boot": None, "namespace": None}
    (autoencoder / ".lock").write_text(json.dumps(elsewhere))
    assert "1 running" in runs("list").out and "elsewhere" in runs("list").out
    os.utime(autoencoder / ".lock", (0, time.time() - 3600))
    assert "1 stale" in runs("list").out


def test_arms_are_listed_beside_the_folders(folder: Path, runs: Runs) -> None:
    """Most arms of a figure share the names of their stages."""
    lines = {line.split()[1]: line for line in runs("list").out.splitlines() if " finished " in line}
    names = {path.name for path in (folder / "stages").iterdir()}
    assert set(lines) == names
    assert sum("no_memory" in line for line in lines.values()) == 1
    assert "direct_copy" in lines[stage(folder, "autoencoder").name]
    assert all("mixer" in line and "MB" in line for line in lines.values())


def test_listing_needs_nothing_heavy(folder: Path, environment: dict[str, str]) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['runs', '--runs-dir', {str(folder)!r}, 'list']\n"
        "try:\n    runpy.run_module('memlab.runs', run_name='__main__')\n"
        f"finally:\n    print('heavy:', *sorted({HEAVY} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode == 0 and "3 finished" in result.stdout) or "4 finished" in result.stdout, result.stderr
    assert result.stdout.splitlines()[-1] == "heavy:"


def test_one_is_shown(folder: Path, runs: Runs) -> None:
    shown = runs("show", stage(folder, "clm").name).out
    assert "state: finished" in shown and "token_accuracy" in shown and "commit:" in shown and SCORE in shown
    many = runs("show", "copy")
    assert many.status == 2 and "give the name of one" in many.err


def test_whole_folders_are_found_whole(runs: Runs) -> None:
    result = runs("verify")
    assert result.status == 0 and "all whole" in result.out, result.out


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _add_up_wrongly(path: Path) -> None:
    content = json.loads(path.read_text())
    for sums in content["windows"].values():
        sums["correct"][0] += 1
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: _flip(path / "model.safetensors"), "not those that were written"),
        (lambda path: (path / "model.safetensors").unlink(), "cannot be read"),
        (lambda path: (path / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda path: (path / "special_tokens.json").unlink(), "special_tokens.json is missing"),
        (lambda path: (path / SCORE).write_text("{"), f"{SCORE} cannot be read"),
        (lambda path: (path / SCORE).write_text("{}"), f"{SCORE} cannot be read"),
        (lambda path: _add_up_wrongly(path / SCORE), f"{SCORE}: its windows do not add up"),
        (lambda path: (path / "metrics.jsonl").write_text(""), "has no rows"),
        (lambda path: (path / "metrics.jsonl").write_bytes(b"\xff\n"), "metrics.jsonl cannot be read"),
        (lambda path: (path / "provenance.json").unlink(), "provenance.json cannot be read"),
        (lambda path: (path / "finished.json").write_text("[]"), "finished.json cannot be read"),
        (lambda path: (path / "config.yaml").write_text("stage: {}"), "not of the stage"),
        (lambda path: (path / "config.yaml").write_text("stage: ["), "config.yaml cannot be read"),
    ],
)
def test_damage_is_found(folder: Path, runs: Runs, damage: Callable[[Path], None], message: str) -> None:
    path = stage(folder, "clm")
    damage(path)
    result = runs("verify")
    assert result.status == 1, result.out + result.err
    assert str(path) in result.out and message in result.out
    assert "1 problems" in result.out


FILES = ("provenance.json", "config.yaml", "finished.json", "failed.json", SCORE, "metrics.jsonl", ".lock")


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"\xff\xfe", b'{"config": 1, "stage": [], "settings": 2}'])
def test_no_damage_is_a_traceback(folder: Path, runs: Runs, content: bytes) -> None:
    """Every command survives it and goes on with the other folders (an error that is a bug would be raised here)."""
    whole = stage(folder, "clm")
    for place, file in enumerate(FILES):
        damaged = Path(shutil.copytree(whole, folder / "stages" / f"damaged-{place}"))
        if file == "failed.json":
            (damaged / "finished.json").unlink()
        (damaged / file).write_bytes(content)
    listed, verified = runs("list"), runs("verify")
    assert (listed.status, verified.status) == (0, 1)
    for place, file in enumerate(FILES):
        assert f"damaged-{place}" in listed.out
        assert f"run folder: {folder / 'stages' / f'damaged-{place}'}" in runs("show", f"damaged-{place}").out, file
    assert runs("gc").status == 0


def test_damage_is_said_where_it_is_shown(folder: Path, runs: Runs) -> None:
    path = stage(folder, "clm")
    for file in ("provenance.json", "config.yaml", SCORE):
        (path / file).write_text("{")
    shown = runs("show", path.name).out
    for file in ("provenance.json", "config.yaml", SCORE):
        assert f"{file} cannot be read" in shown
    listed = runs("list").out
    assert "config.yaml cannot be read" in listed and f"{SCORE} cannot be read" in listed


def test_a_checkpoint_before_a_broken_one_is_enough(folder: Path, runs: Runs) -> None:
    path = stage(folder, "clm")
    (path / "finished.json").unlink()
    (path / "checkpoints").mkdir(exist_ok=True)
    (path / "checkpoints" / "step-000000020.ckpt").write_bytes(b"half")
    assert "no checkpoint is whole" in runs("verify").out
    (path / ".lock").write_text(json.dumps({"token": "t", "host": "elsewhere", "pid": 1}))
    assert "all whole" in runs("verify").out, "a running one is left alone"
    os.utime(path / ".lock", (0, 0))
    assert "no checkpoint is whole" in runs("verify").out, "a stale one is not"


def test_a_folder_without_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "memlab.runs", "list"]
    (tmp_path / "home").mkdir()
    for given in ("", "~"):  # empty counts as not given
        variables = {**environment, "MEMLAB_RUNS": given, "HOME": str(tmp_path / "home")}
        result = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
        where = str(tmp_path / "home") if given else "runs"
        assert result.returncode == 2 and result.stderr.startswith(f"error: {where} is not a runs folder")

"""Disks that are full, read-only or away: one message, and nothing that was there is lost."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan
from memlab.errors import explain
from memlab.storage import files
from memlab.training.estimate import Workload
from memlab.training.pipeline import run_chain
from tests.conftest import Command, smoke

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """mount(options): a file system in memory. Root ignores permissions, so that a folder alone cannot be read-only."""
    point = tmp_path / "mounted"

    def make(options: str) -> Path:
        point.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("nothing can be mounted here (it takes root, outside of most containers)")
        return point

    yield make
    subprocess.run(["umount", "--lazy", str(point)], capture_output=True, check=False)


def test_a_full_disk_is_said_and_after_some_room_it_goes_on(memlab: Command, mount: Mount, tmp_path: Path) -> None:
    runs = mount("size=2m")
    long = ("scale.width=64", "trainer.checkpoint_every=2")
    result = memlab(*long, runs=runs)
    assert result.returncode in (1, 2) and "the disk is full" in result.stderr, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert not list(runs.glob("stages/*/finished.json")) and not list(runs.glob("stages/*/.lock"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(runs)], check=True)
    assert memlab(*long, runs=runs).returncode == 0
    assert memlab(*long, runs=tmp_path / "roomy").returncode == 0
    (ours,), (theirs,) = (list(root.glob("stages/*/model.safetensors")) for root in (runs, tmp_path / "roomy"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_read_only_runs_folder_is_said(memlab: Command, mount: Mount) -> None:
    result = memlab(runs=mount("ro"))
    assert result.returncode in (1, 2) and "the disk is read-only" in result.stderr
    assert "runs_dir=" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.ESTALE, errno.EDQUOT])
@pytest.mark.parametrize("file", ["step-", "model.safetensors", "evaluation.json", "finished.json"])
def test_any_write_may_fail(corpus: Path, tmp_path: Path, kind: int, file: str) -> None:
    """Writes of one kind of file fail; then the disk is well again, and the same command ends as if it had been."""

    def failing(path: Path, content: bytes) -> str:
        if path.name.startswith(file):
            raise OSError(kind, os.strerror(kind), str(path))
        return original(path, content)

    def job(runs: Path) -> Any:
        (found,) = plan(compose_sweep([*smoke(corpus, runs), "trainer.checkpoint_every=4"]).configs[0])
        return found

    original = files.write_temporary
    ours, theirs = job(tmp_path / "failing"), job(tmp_path / "well")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "write_temporary", failing)
        with pytest.raises(OSError) as error:
            run_chain([ours], Workload())
    message = explain(error.value)
    assert message is not None and "run the same command again" in message
    assert not ours.folder.finished and not ours.folder.lock.exists()
    run_chain([ours], Workload())
    run_chain([theirs], Workload())
    assert ours.folder.weights.read_bytes() == theirs.folder.weights.read_bytes()
    assert not [path for path in ours.folder.path.rglob(".*") if path.is_file()], "no rubbish"

"""Disks that are full, read-only or away: one message, and nothing that was there is lost."""

import errno
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan
from memlab.errors import explain
from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
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


@pytest.mark.slow  # test_any_write_may_fail
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


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ESTALE])
def test_what_is_wrong_with_the_disk_and_what_to_do_is_said(kind: int) -> None:
    message = explain(OSError(kind, os.strerror(kind), "runs/stages/a"))
    assert message is not None and "(runs/stages/a), then run the same command again" in message


def test_another_error_of_a_file_keeps_its_traceback() -> None:
    assert explain(FileNotFoundError(errno.ENOENT, "No such file or directory", "runs/stages/a")) is None


@pytest.fixture(scope="module")
def job(corpus: Path) -> Any:
    """job(runs): the one stage of a point."""

    def make(runs: Path) -> Any:
        (found,) = plan(compose_sweep([*smoke(corpus, runs), "trainer.checkpoint_every=4"]).configs[0]).jobs
        return found

    return make


@pytest.fixture(scope="module")
def undisturbed(job: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of that stage."""
    theirs = job(tmp_path_factory.mktemp("undisturbed"))
    run_chain([theirs], Workload())
    return theirs.folder.weights.read_bytes()


@pytest.mark.parametrize("file", ["step-", "model.safetensors", "evaluation", "finished.json"])
def test_any_write_may_fail(
    job: Any, undisturbed: bytes, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of one kind can be made; then the disk is well again, and the same command ends as if it had been."""
    original = tempfile.mkstemp

    def failing(*arguments: Any, prefix: str | None = None, **options: Any) -> Any:
        if (prefix or "").startswith(f".{file}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), prefix)
        return original(*arguments, prefix=prefix, **options)

    ours = job(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "mkstemp", failing)
        with pytest.raises(OSError) as error:
            run_chain([ours], Workload())
    assert "run the same command again" in (explain(error.value) or "")
    assert not ours.folder.finished and not ours.folder.lock.exists()
    run_chain([ours], Workload())
    assert ours.folder.weights.read_bytes() == undisturbed
    assert not [path for path in ours.folder.path.rglob(".*") if path.is_file()], "no rubbish"

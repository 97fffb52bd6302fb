"""A runs folder that memlab.run made, a copy of it for each test, and the command in this process."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from memlab import progress
from memlab.runs import __main__ as command
from tests.conftest import Command


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


Runs = Callable[..., Result]


@pytest.fixture(scope="session")
def made(memlab: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with a sweep of two points, and a run of its own."""
    runs = tmp_path_factory.mktemp("made")
    for overrides in (("+experiment=copy_curriculum", "arm=no_memory,direct_copy"), ("objective=clm",)):
        result = memlab(*overrides, runs=runs)
        assert result.returncode == 0, result.stdout + result.stderr
    return runs


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


@pytest.fixture
def runs(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runs:
    """runs(*arguments): `python -m memlab.runs --runs-dir <folder> <arguments>`. An error that is a bug is raised."""
    monkeypatch.setattr(progress.console, "width", 300)

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["runs", "--runs-dir", str(folder), *arguments])
        with pytest.raises(SystemExit) as end:
            command.main()
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Result(end.value.code, captured.out, captured.err)

    return call


def stage(folder: Path, name: str) -> Path:
    """The folder of a stage by the beginning of its name."""
    return next(iter(sorted((folder / "stages").glob(f"{name}-*"))))

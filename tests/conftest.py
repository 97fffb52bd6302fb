"""What all tests share: an environment of their own, a small corpus, and the command line run on it."""

import faulthandler
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.environment import isolate

isolate(os.environ)  # before a test module imports anything that reads it; subprocesses inherit it

ROOT = Path(__file__).parent.parent
Command = Callable[..., subprocess.CompletedProcess[str]]
# Words that the standard library's source has, so that a vocabulary of 300 tokens can be reached.
_LINES = [f"def function_{i}(self, value={i}):\n    return self.items[{i % 7}] + value * {i}\n" for i in range(40)]


def pytest_sessionfinish() -> None:
    """Say where all threads are, and exit, if this process does not end: pytest-timeout watches tests alone.

    A worker of pytest-xdist that is done waits for the others, which may take as long as a test may.
    """
    faulthandler.dump_traceback_later(1200 if "PYTEST_XDIST_WORKER" in os.environ else 300, exit=True)


@pytest.fixture(autouse=True)
def leave_nothing_behind() -> Iterator[None]:
    """Undo what a test changes in its process: environment, current folder, and how torch computes."""
    environment, folder = dict(os.environ), Path.cwd()
    yield
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(False)  # memlab.processes.cpu sets it


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small text files, all different."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder for tests that do not care what is in it."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of a subprocess: that of the tests, with this checkout's code."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def memlab(corpus: Path, environment: dict[str, str]) -> Command:
    """memlab(*overrides, runs=folder): run `python -m memlab.run` at smoke scale on the small corpus."""

    def call(*overrides: str, runs: Path, module: str = "memlab.run") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *smoke(corpus, runs), *overrides],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that put tiny random models in the place of the scale's pretrained ones."""
    from tests.pretrained.models import save_bert, save_llama

    folder = tmp_path_factory.mktemp("models")
    causal, bidirectional = save_llama(folder / "tiny-llama"), save_bert(folder / "tiny-bert")
    return [f"scale.pretrained.causal={causal}", f"scale.pretrained.bidirectional={bidirectional}"]


def write_corpus(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for i in range(60):
        (folder / f"{i:02}.txt").write_text(f"# file {i} of the corpus\n" + "".join(_LINES[i % 20 : i % 20 + 20]) * 3)


def smoke(corpus: Path, runs: Path) -> list[str]:
    return ["scale=smoke", "data=text_files", f"data.path={corpus}", f"runs_dir={runs}", "logger=none"]


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait until a condition is true. The limit is generous: the machine may be busy with other work."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)

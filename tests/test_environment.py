"""Tests do not see the environment of whoever runs them, and leave nothing for the next one."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.environment import NAMES, PREFIXES, isolate

HOSTILE = {
    "CUDA_VISIBLE_DEVICES": "5",
    "HF_HOME": "/nowhere",
    "HYDRA_FULL_ERROR": "1",
    "LANG": "xx_XX.latin-7",
    "MEMLAB_RUNS": "/nowhere",
    "MKL_NUM_THREADS": "3",
    "OMP_NUM_THREADS": "7",
    "PYTHONIOENCODING": "ascii",
    "PYTHONOPTIMIZE": "1",
    "RANK": "1",
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_NUM_TASKS": "4",
    "TORCH_LOGS": "+all",
    "WANDB_MODE": "online",
    "WANDB_RUN_ID": "mine",
    "WORLD_SIZE": "2",
    "XDG_CACHE_HOME": "/nowhere",
}


def test_what_a_user_has_set_is_taken_away() -> None:
    environment = {**HOSTILE, "PATH": "/bin", "SLURM_TESTS": "1"}
    isolate(environment)
    assert environment["PATH"] == "/bin" and environment["SLURM_TESTS"] == "1"
    left = {name: value for name, value in environment.items() if HOSTILE.get(name) == value}
    assert not left
    assert not {name for name in environment if name.startswith(("MEMLAB_", "SLURM_JOB", "HYDRA_"))}


def test_neither_here_nor_in_a_process_that_is_started() -> None:
    """The next test runs this one as such a user would."""
    show = "import os; print(sorted(os.environ.items()))"
    below = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout
    for name, value in HOSTILE.items():
        assert os.environ.get(name) != value and repr((name, value)) not in below


def test_pytest_started_in_such_an_environment() -> None:
    test = f"{__file__}::{test_neither_here_nor_in_a_process_that_is_started.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test],
        # Without asserts pytest would prove nothing.
        env={**os.environ, **HOSTILE, "PYTHONOPTIMIZE": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("attempt", [1, 2])
def test_what_a_test_changes_is_put_back(attempt: int) -> None:
    """Each of the two changes everything, and finds nothing changed, in whichever order they run."""
    assert "MEMLAB_LEFT_BEHIND" not in os.environ and os.environ["COLUMNS"] == "160"
    assert os.getcwd() != "/"
    os.environ["MEMLAB_LEFT_BEHIND"] = "1"
    del os.environ["COLUMNS"]
    os.chdir("/")


def test_every_name_is_one_that_would_be_taken_away() -> None:
    assert all(name.startswith(PREFIXES) or name in NAMES for name in HOSTILE)

"""Chains of stages in this process, at a size below smoke."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.config.stage import Job
from tests.conftest import smoke


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def chain(corpus: Path, tmp_path: Path) -> Any:
    """chain(*overrides, runs=...): the jobs of one point."""

    def make(*overrides: str, runs: Path = tmp_path) -> list[Job]:
        return list(plan_all(compose_sweep([*smoke(corpus, runs), *overrides]).configs)[0].jobs)

    return make

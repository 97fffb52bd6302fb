"""Tiny pretrained models in folders of their own, and chains of stages on them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.config.stage import Job
from tests.conftest import smoke
from tests.pretrained.models import save_bert, save_llama

Jobs = Callable[..., list[Job]]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture
def jobs(corpus: Path, tmp_path: Path) -> Jobs:
    """jobs(model, *overrides, runs=...): the stages of one point, at smoke scale, on a pretrained model."""

    def make(model: Path, *overrides: str, runs: Path = tmp_path / "runs") -> list[Job]:
        (chain,) = plan_all(compose_sweep([*smoke(corpus, runs), f"pretrained.model={model}", *overrides]).configs)
        return list(chain.jobs)

    return make

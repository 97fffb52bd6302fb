"""Chains planned on the small corpus; nothing is trained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.config.stage import Chain
from tests.conftest import smoke

Chains = Callable[..., list[Chain]]


@pytest.fixture
def chains_of(corpus: Path, tmp_path: Path) -> Chains:
    """chains_of(*overrides): the chains of a command at smoke scale."""

    def chains(*overrides: str) -> list[Chain]:
        return plan_all(compose_sweep([*smoke(corpus, tmp_path), *overrides]).configs)

    return chains

"""Every option of every group composes and can be built; so does every scale with every architecture."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from memlab.config import paths
from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.training.build import build_stage
from memlab.training.estimate import flops_per_step
from tests.config.conftest import Chains

CONF = paths.conf()
# The mixed ones are put together from the same parts; one experiment and one scale of them are always tried.
MIXED = ("mixer_transformer", "transformer_mixer")
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("[!_]*.yaml"))
# Groups whose options tests/training/test_trainer.py takes through training: here are the others.
GROUPS = ("trainer", "data", "tokenizer", "pretrained", "debug", "channel", "hydra/launcher")


def with_architectures(names: list[str], always: str) -> list[Any]:
    """Return every name with every architecture; of the mixed ones all but `always` are slow, the search has none."""
    return [
        pytest.param(name, architecture, marks=pytest.mark.slow if architecture in MIXED and name != always else ())
        for name in names
        for architecture in ("mixer", "transformer", *(() if name == "laptop_search" else MIXED))
    ]


def options(group: str) -> list[str]:
    return [f"{group}={path.stem}" for path in sorted((CONF / group).glob("[!_]*.yaml"))]


def arms_of(experiment: str) -> list[str]:
    return list(yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())["arms"])


@pytest.mark.parametrize("option", [option for group in GROUPS for option in options(group)])
def test_every_option_composes_and_can_be_built(option: str, corpus: Path, chains_of: Chains) -> None:
    places = {"debug": "+debug", "data": "data@evaluation.data", "channel": "channel@architecture.channel"}
    group, _, name = option.partition("=")
    given = [
        f"{places.get(group, group)}={name}",
        *([f"evaluation.data.path={corpus}"] if name == "text_files" else []),
    ]
    for chain in chains_of(*given):
        for job in chain.jobs:
            assert flops_per_step(job.stage) > 0


def test_every_group_is_tried_somewhere() -> None:
    elsewhere = {"scale", "tuned", "architecture", "experiment"}  # below
    of_training = {"optimizer", "schedule", "encoder", "curriculum", "objective", "model", "bridge", "stack", "stage"}
    known = {group.split("/")[0] for group in GROUPS} | elsewhere | of_training | {"measure", "logger"}
    assert {folder.name for folder in CONF.iterdir() if folder.is_dir()} == known


@pytest.mark.parametrize(
    ("scale", "architecture"), with_architectures([option.partition("=")[2] for option in options("scale")], "paper")
)
def test_every_scale_can_be_built_with_every_architecture(scale: str, architecture: str, corpus: Path) -> None:
    """Two points that have every kind of model and every part of an architecture between them."""
    every = ["encoder=frozen_autoencoder_retrieval", "curriculum=probe", "+stage@curriculum.stages.copy=copy"]
    none = ["encoder=none", "model@curriculum.stages.main.model=recurrent", "+stage@curriculum.stages.causal=causal"]
    for point in (every, none):
        given = [f"scale={scale}", f"architecture={architecture}", "data=text_files", f"data.path={corpus}", *point]
        (chain,) = plan_all(compose_sweep([*given, "tokenizer.vocab=300"]).configs)
        assert chain.choices["architecture"] == architecture
        with torch.device("meta"):
            for job in chain.jobs:
                build_stage(job.stage)


@pytest.mark.parametrize(("experiment", "architecture"), with_architectures(EXPERIMENTS, "causal_memory"))
def test_every_experiment_can_be_built_with_every_architecture(
    experiment: str, architecture: str, chains_of: Chains, tiny_models: list[str]
) -> None:
    # The search has four models at each of many settings: one of them is built here.
    chosen = [f"arm={','.join(arm for arm in arms_of(experiment) if arm.startswith('autoencoder__'))}"]
    more = chosen if experiment == "laptop_search" else tiny_models
    for chain in chains_of(f"+experiment={experiment}", f"architecture={architecture}", *more):
        assert f"architecture={architecture}" in chain.label
        for job in chain.jobs:
            assert flops_per_step(job.stage) > 0


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_has_the_arms_that_its_page_has(experiment: str) -> None:
    page = yaml.safe_load((paths.experiments() / experiment / "expected.yaml").read_text())
    assert arms_of(experiment) == list(page["arms"])


@pytest.mark.parametrize("order", [1, -1])
def test_a_source_on_the_command_line_wins_over_the_scale_s(order: int) -> None:
    config = compose_sweep(["scale=paper", "data=python_source"][::order]).configs[0]
    assert (config.scale.name, config.data.name) == ("paper", "python_source")
    assert "repository" not in config.data


def test_a_value_on_the_command_line_wins_over_what_is_tuned() -> None:
    tuned = compose_sweep(["scale=laptop", "architecture=transformer"]).configs[0]
    given = compose_sweep(["architecture=transformer", "scale.lr=0.5", "scale=laptop"]).configs[0]
    assert (tuned.optimizer.lr, given.optimizer.lr) == (4e-3, 0.5)

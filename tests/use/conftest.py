"""Models to use, made without training: a stage as the commands plan it, its tokenizer, and weights that were drawn."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from memlab.config.compose import compose_sweep
from memlab.config.instantiate import build
from memlab.config.plan import plan_all
from memlab.training.stage import prepared_of
from memlab.use.text_model import TextModel
from tests.conftest import smoke, write_corpus
from tests.training.chains import SHORT

Make = Callable[..., TextModel]
KINDS = {
    "memory": ("objective=copy",),
    "memory, transformer": ("objective=copy", "architecture=transformer"),
    "memory, variable slots": ("objective=copy", "architecture.slots=variable"),
    "two memories": ("objective=copy", "architecture.memories=2"),
    "no memory": ("objective=copy", "encoder=none"),
    "full context": ("objective=copy", "encoder=none", "model@curriculum.stages.main.model=full_context"),
    "recurrent": ("objective=copy", "encoder=none", "model@curriculum.stages.main.model=recurrent"),
}


@pytest.fixture(scope="session")
def make(corpus: Path, runs: Path) -> Make:
    """make(*overrides, stage=-1): the model of a point's stage. Its weights are large enough for tokens to matter."""
    made: dict[tuple[object, ...], TextModel] = {}

    def model_of(*overrides: str, stage: int = -1) -> TextModel:
        key = (*overrides, stage)
        if key not in made:
            job = plan_all(compose_sweep([*smoke(corpus, runs), *overrides]).configs)[0].jobs[stage]
            torch.manual_seed(1)
            model = build(job.stage.model)
            for module in model.modules():
                if isinstance(module, nn.Embedding):
                    nn.init.normal_(module.weight)
                elif isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=module.in_features**-0.5)
            frozen = model.eval().requires_grad_(False)
            made[key] = TextModel(frozen, prepared_of(job), job.stage, job.stage.fingerprint)
        return made[key]

    return model_of


@pytest.fixture
def autoencoder(make: Make) -> TextModel:
    return make("encoder=frozen_autoencoder", "objective=copy", stage=0)


@pytest.fixture
def memory_model(make: Make) -> TextModel:
    return make(*KINDS["memory"])


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The run folders of an autoencoder and of a memory model behind it, trained for two steps; their text is gone."""
    from memlab.training.chain import run_chain
    from memlab.training.estimate import Workload

    corpus = tmp_path_factory.mktemp("text") / "corpus"
    write_corpus(corpus)
    own = tmp_path_factory.mktemp("trained")
    chosen = ("encoder=frozen_autoencoder", "objective=copy", "scale.stages.autoencoder.steps=2", *SHORT)
    jobs = list(plan_all(compose_sweep([*smoke(corpus, own), *chosen]).configs)[0].jobs)
    run_chain(jobs, Workload())
    shutil.rmtree(corpus)
    shutil.rmtree(own / "data")
    return [job.folder.path for job in jobs]


@pytest.fixture
def folder(trained: list[Path], tmp_path: Path) -> Path:
    """A copy of a run folder under another name, to damage."""
    return Path(shutil.copytree(trained[1], tmp_path / "elsewhere" / "my best run"))

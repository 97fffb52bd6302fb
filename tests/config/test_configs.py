"""Every option of every group composes, and trains a step."""

from pathlib import Path

import pytest
import torch

from memlab.config import paths
from memlab.config.compose import compose_sweep
from memlab.config.plan import plan
from memlab.training.build import build_stage, chunks_of

GROUPS = sorted(folder.name for folder in paths.conf().iterdir() if folder.is_dir())
OPTIONS = [f"{group}={path.stem}" for group in GROUPS for path in sorted((paths.conf() / group).glob("[!_]*.yaml"))]
# What an option makes sense with.
NEEDS = {
    "objective=autoencode": "curriculum.stages.main.model=autoencoder",
    "objective=retrieval": "curriculum.stages.main.model=encoder",
    "curriculum=none": "encoder=frozen_autoencoder",
    "curriculum=probe": "encoder=frozen_memory_clm",
}


def with_prefix(option: str) -> str:
    """Groups that are not in the defaults list are added."""
    return f"+{option}" if option.startswith(("experiment=", "debug=")) else option


@pytest.mark.parametrize("architecture", ["mixer", "transformer"])
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_steps(option: str, architecture: str, corpus: Path, tmp_path: Path) -> None:
    if option == "encoder=from_run":
        pytest.skip("needs a finished run: tests/training/test_stages.py")
    if option in NEEDS:
        option = f"{NEEDS[option]},{option}"
    smoke = [] if option.startswith("scale=") else ["scale=smoke"]
    own_text = option.startswith("data=") and option != "data=text_files"
    text = [] if own_text else ["data=text_files", f"data.path={corpus}"]
    given = [
        *smoke,
        *text,
        f"runs_dir={tmp_path}",
        f"architecture={architecture}",
        *map(with_prefix, option.split(",")),
    ]
    for config in compose_sweep(list(dict.fromkeys(given))).configs:
        for job in plan(config):
            stage = job.stage
            if option.startswith(("scale=gpu", "scale=paper")):  # too large for a test; shapes are checked all the same
                with torch.device("meta"):
                    build_stage(stage)
                continue
            model, objective = build_stage(stage)
            chunks, length = chunks_of(stage), stage.model["chunk_length"]
            tokens = torch.randint(2, stage.data["vocab"], (2, objective.window(chunks, length)))
            loss, _ = objective.losses(model, tokens, chunks=chunks, length=length, progress=0.1)
            loss.backward()
            assert loss.isfinite()
            if model.regenerates:
                assert all((p.grad is not None) == p.requires_grad for p in model.head.parameters())


@pytest.mark.parametrize("architecture", ["mixer", "transformer"])
def test_paper_scale_is_the_published_set_up(architecture: str, corpus: Path) -> None:
    """Science, "Published training set-up": Figure 4."""
    config = compose_sweep(["scale=paper", "arm=curriculum", f"architecture={architecture}"]).configs[0]
    assert (config.data.name, config.data.max_bytes) == ("fineweb_edu", None)
    autoencoder, blank, copy = plan(config)
    assert config.scale.sequence == 1024 and config.tokenizer.vocab == 8000
    for job in (autoencoder, blank, copy):
        assert job.stage.model["chunk_length"] == 256
        assert job.stage.training["lr"] == {"mixer": 5e-4, "transformer": 2e-4}[architecture]
        assert job.stage.training["betas"] == [0.9, 0.999] and job.stage.training["warmup"] == 500
        assert job.stage.training["clip"] == 1 and job.stage.training["weight_decay"] == 0
    model = copy.stage.model
    assert (model["decoder"]["width"], model["decoder"]["layers"], model["chunks"], model["memories"]) == (
        512,
        16,
        4,
        1,
    )
    if architecture == "mixer":
        assert (model["encoder"]["taps"], model["decoder"]["taps"], model["decoder"]["heads"]) == (4, 1, 0)
    else:
        assert model["decoder"]["heads"] == 4
    assert [job.stage.training["steps"] for job in (autoencoder, blank, copy)] == [200_000, 100_000, 100_000]
    assert copy.stage.training["batch_size"] == 64


@pytest.mark.parametrize("order", [1, -1])
def test_a_source_on_the_command_line_wins_over_the_scale_s(order: int) -> None:
    config = compose_sweep(["scale=paper", "data=python_source"][::order]).configs[0]
    assert (config.scale.name, config.data.name) == ("paper", "python_source")
    assert "repository" not in config.data

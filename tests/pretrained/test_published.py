"""The published set-ups with pretrained models, on tiny models of the same classes: they compose, and take a step."""

from collections.abc import Callable
from pathlib import Path

import pytest

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.config.stage import Chain
from memlab.training.pace import step_of
from tests.pretrained.models import save_bert, save_llama

ChainOf = Callable[..., Chain]
SMALL = ("scale.width=24", "scale.layers=1", "scale.heads=2", "scale.probe_heads=2")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Models that read chunks as long as the published ones."""
    folder = tmp_path_factory.mktemp("models")
    causal = save_llama(folder / "llama", max_position_embeddings=2048)
    bidirectional = save_bert(folder / "bert", max_position_embeddings=512)
    return [f"scale.pretrained.causal={causal}", f"scale.pretrained.bidirectional={bidirectional}"]


@pytest.fixture
def chain_of(models: list[str], corpus: Path, tmp_path: Path) -> ChainOf:
    def make(experiment: str, arm: str, *more: str) -> Chain:
        text = ("data=text_files", f"data.path={corpus}", f"runs_dir={tmp_path}")
        given = (f"+experiment={experiment}", f"scale=paper_{experiment}", f"arm={arm}", *text, *models, *more)
        (chain,) = plan_all(compose_sweep(list(given)).configs)
        return chain

    return make


@pytest.mark.parametrize("length", [16, 64, 256, 512])
@pytest.mark.parametrize("model", ["causal", "bidirectional"])
def test_probes_of_pretrained_models_are_the_published_ones(model: str, length: int, chain_of: ChainOf) -> None:
    (job,) = chain_of("llm_information", f"{model}_{length}").jobs
    stage, training = job.stage, job.stage.training
    decoder = stage.model["decoder"]["stack"]
    assert stage.layout == {"chunks": 1, "length": length}
    assert training["batch_size"] * training["accumulate"] * length == 32_768
    assert (training["optimizer"]["lr"], training["schedule"]["warmup"], training["steps"]) == (2e-4, 100, 200_000)
    assert (decoder["width"], decoder["layers"], decoder["mixer"]["heads"]) == (512, 16, 4)
    assert stage.model["bridge"]["_target_"].endswith("UnrollBridge") and stage.freeze_encoder is True
    assert training["precision"] == "bf16-mixed" and training["windows"] is None
    assert stage.model["encoder"]["weights"]["name"] == {"causal": "llama", "bidirectional": "bert"}[model]


@pytest.mark.parametrize(
    ("arm", "lr"), [("no_memory", 5e-5), ("frozen_autoencoder", 5e-5), ("trainable", 5e-6), ("curriculum", 5e-5)]
)
def test_the_pretrained_decoder_is_trained_as_published(arm: str, lr: float, chain_of: ChainOf) -> None:
    chain = chain_of("pretrained_decoder", arm)
    for job in chain.jobs[chain.encoder_stages :]:
        training, model = job.stage.training, job.stage.model
        assert (training["optimizer"]["lr"], training["schedule"]["warmup"]) == (lr, 100)
        assert (training["batch_size"], training["steps"]) == (16, 100_000)
        assert job.stage.layout == {"chunks": 4, "length": 256}
        assert model["decoder"]["train"] == "full" and model["decoder"]["weights"]["name"] == "llama"
        if model["encoder"] is not None:
            stack = model["encoder"]["stack"]
            assert (stack["width"], stack["layers"], stack["mixer"]["heads"]) == (512, 16, 4)
    for job in chain.jobs[: chain.encoder_stages]:
        training = job.stage.training
        assert (training["optimizer"]["lr"], training["batch_size"], training["steps"]) == (4e-4, 128, 96_000)


@pytest.mark.parametrize("arm", ["causal_512", "bidirectional_512", "untrained_64", "autoencoder_256"])
def test_a_probe_of_the_published_length_takes_a_step(arm: str, chain_of: ChainOf) -> None:
    step_of(chain_of("llm_information", arm, *SMALL, "scale.batch_size=2").jobs[-1].stage)()


@pytest.mark.parametrize(
    "arm", ["before", "trainable", "frozen_autoencoder", "lora_blank_copy", "projection_blank_copy"]
)
def test_a_decoder_of_the_published_length_takes_a_step(arm: str, chain_of: ChainOf) -> None:
    step_of(chain_of("pretrained_decoder", arm, *SMALL, "scale.batch_size=2").jobs[-1].stage)()

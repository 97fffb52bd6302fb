"""encoder=from_run with a finished run of every kind."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan
from memlab.config.stage import Chain, Job
from memlab.errors import UserError
from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
from tests.conftest import smoke

STEPS = "{autoencoder: {steps: 2}, causal: {steps: 2}, memory: {steps: 2}}"
TINY = (
    f"scale.stages={STEPS}", "scale.width=8", "scale.matched_width=4", "trainer.batch_size=4",
    "trainer.accelerator=cpu", "trainer.validate_windows=4", "trainer.evaluate_windows=4",
    "trainer.free_running_windows=0",
)  # fmt: skip
Run = Callable[..., Job]


@pytest.fixture
def chain(corpus: Path, runs: Path) -> Callable[..., Chain]:
    """chain(*overrides): plan a point of a tiny model; all tests share their runs folder."""
    return lambda *overrides: plan(compose_sweep([*smoke(corpus, runs), *TINY, *overrides]).configs[0])


@pytest.fixture
def run(chain: Callable[..., Chain]) -> Run:
    """run(*overrides): finish every stage of a point; return the last one, or that of the given name."""

    def finish(*overrides: str, stage: str | None = None) -> Job:
        jobs = chain(*overrides).jobs
        run_chain(jobs, Workload())
        return next(job for job in reversed(jobs) if stage in (None, job.stage.name))

    return finish


MODEL = "model@curriculum.stages.main.model"
# What has an encoder: the command, the stage to take it from, and at which position before the last it is read.
READABLE = {
    "autoencoder": (("encoder=frozen_autoencoder", "curriculum=none"), None, 0),
    "causal": (("encoder=frozen_causal", "curriculum=none"), None, 1),
    "causal, transformer": (("encoder=frozen_causal", "curriculum=none", "architecture=transformer"), None, 0),
    "memory model": (("objective=clm",), None, 0),
    "combined": (("objective=combined",), None, 0),
    "memory model on a frozen causal mixer": (("encoder=frozen_causal", "objective=copy"), None, 1),
    "probe of a causal mixer": (("encoder=frozen_causal", "curriculum=probe"), None, 1),
    "curriculum": (("encoder=frozen_autoencoder", "curriculum=blank_then_copy"), None, 0),
    "blank copy": (("encoder=frozen_autoencoder", "curriculum=blank_then_copy"), "blank_copy", 0),
    "retrieval": (("encoder=frozen_causal_retrieval", "curriculum=none"), None, 0),
}
# What has none.
UNREADABLE = {
    "no memory": ("encoder=none", "objective=clm"),
    "full context": ("encoder=none", "objective=clm", f"{MODEL}=full_context"),
    "recurrent": ("encoder=none", "objective=clm", f"{MODEL}=recurrent"),
}


@pytest.mark.parametrize("kind", READABLE)
def test_an_encoder_is_taken_as_it_was(kind: str, run: Run) -> None:
    overrides, stage, skip = READABLE[kind]
    source = run(*overrides, stage=stage)
    taken = run("encoder=from_run", f"encoder.run={source.folder.path}", "objective=copy", "trainer.max_loss=999")
    encoder = taken.stage.model["encoder"]
    assert encoder["skip"] == skip
    assert encoder["stack"] == (source.stage.model.get("encoder") or source.stage.model["decoder"])["stack"]
    assert taken.stage.start == {"fingerprint": source.folder.fingerprint, "part": "encoder"}
    assert taken.stage.freeze_encoder is True and taken.stage.place == source.stage.place + 1
    before, after = load_file(source.folder.weights), load_file(taken.folder.weights)
    prefix = "encoder." if "encoder.embedding.weight" in before else "decoder."
    names = [name for name in after if name.startswith("encoder.")]
    assert names
    for name in names:
        assert after[name].equal(before[name.replace("encoder.", prefix, 1)]), name


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_run_without_an_encoder_is_refused(kind: str, run: Run, chain: Callable[..., Chain]) -> None:
    source = run(*UNREADABLE[kind])
    with pytest.raises(UserError, match="has no encoder of single chunks: choose the run of an autoencoder"):
        chain("encoder=from_run", f"encoder.run={source.folder.path}")


@pytest.mark.parametrize("curriculum", ["probe", "blank_then_copy", "single"])
def test_an_encoder_serves_every_curriculum(curriculum: str, run: Run) -> None:
    source = run("encoder=frozen_causal", "objective=copy")
    last = run("encoder=from_run", f"encoder.run={source.folder.path}", f"curriculum={curriculum}")
    assert last.stage.model["encoder"]["skip"] == 1


def test_a_position_of_ones_own_can_be_read(run: Run, chain: Callable[..., Chain]) -> None:
    for overrides in (("encoder=frozen_causal", "curriculum=none"), ("encoder=frozen_autoencoder", "curriculum=none")):
        source = run(*overrides)
        (job,) = chain("encoder=from_run", f"encoder.run={source.folder.path}", "encoder.skip=2").jobs
        assert job.stage.model["encoder"]["skip"] == 2


def test_a_mixer_read_in_a_transformer_keeps_its_position(run: Run, chain: Callable[..., Chain]) -> None:
    """The row that was never trained is the source's, whatever the decoder is."""
    source = run("encoder=frozen_causal", "curriculum=none")
    (job,) = chain("encoder=from_run", f"encoder.run={source.folder.path}", "architecture=transformer").jobs
    assert job.stage.model["encoder"]["skip"] == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["scale.chunk_length=16"], "set scale.chunk_length=8"),
        (["architecture.memories=2"], "has memories=1: set architecture.memories=1"),
        (["architecture.compression=2"], "has compression=1: set architecture.compression=1"),
        (["tokenizer.vocab=290"], "tokens of another text or tokenizer"),
        (["encoder=frozen_autoencoder"], "take encoder=from_run, which has no stages"),
    ],
)
def test_what_does_not_fit_the_run_is_said(
    overrides: list[str], message: str, run: Run, chain: Callable[..., Chain]
) -> None:
    source = run("encoder=frozen_autoencoder", "curriculum=none")
    with pytest.raises(UserError) as error:
        chain("encoder=from_run", f"encoder.run={source.folder.path}", *overrides)
    assert message in str(error.value)


def test_a_damaged_run_is_told_from_a_finished_one(tmp_path: Path, chain: Callable[..., Chain]) -> None:
    folder = tmp_path / "autoencoder-0123456789ab"
    folder.mkdir()
    with pytest.raises(UserError, match="not the folder of a finished run"):
        chain("encoder=from_run", f"encoder.run={folder}")
    for content in ("{", "{}", '{"fingerprint": "0123456789ab"}'):
        (folder / "finished.json").write_text(content)
        with pytest.raises(UserError, match="cannot be read; train that stage again"):
            chain("encoder=from_run", f"encoder.run={folder}")

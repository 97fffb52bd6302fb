from pathlib import Path
from typing import Any

import pytest

from memlab.config.compose import compose_sweep
from memlab.config.fingerprint import fingerprint
from memlab.config.plan import Job, plan, point


@pytest.fixture
def jobs_of(corpus: Path, tmp_path: Path) -> Any:
    """jobs_of(*overrides): the chain of stages of a config on the small corpus."""

    def jobs(*overrides: str) -> list[Job]:
        given = ["scale=smoke", "data=text_files", f"data.path={corpus}", f"runs_dir={tmp_path}", *overrides]
        (config,) = compose_sweep(given).configs
        return plan(config)

    return jobs


CURRICULUM = ("encoder=frozen_autoencoder", "curriculum=blank_then_copy")

# What a user may change, and whether the weights of the last stage would be others.
SHAPES_WEIGHTS = [
    "seed=1",
    "scale.width=64",
    "scale.chunk_length=16 scale.sequence=64",
    "architecture.autoencoder_steps=21",
    "scale.steps.memory=11",
    "curriculum.stages.copy.steps=11",
    "trainer.batch_size=8",
    "trainer.accumulate=2",
    "trainer.precision=bf16-mixed",
    "optimizer.lr=0.1",
    "optimizer.clip=null",
    "architecture=transformer",
    "architecture.fill=1.0",
    "architecture.slots=variable",
    "architecture.bridge=repeat",
    "architecture.decoder.heads=2",
    "curriculum.stages.copy.objective.hand_over=0.1",
    "curriculum.stages.copy.init_from=null",
    "tokenizer.vocab=290",
    "data.val=0.2",
    "data.max_bytes=100000",
]
DOES_NOT = [
    "logger=wandb",
    "logger=wandb_online",
    "runs_dir=elsewhere",
    "dry_run=true",
    "trainer.workers=2",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "trainer.log_every=1",
    "trainer.validate_every=3",
    "trainer.validate_windows=3",
    "trainer.evaluate_windows=3",
    "trainer.checkpoint_every=3",
    "scale.steps.longer=3",
    "architecture.causal_skip=0",
]


@pytest.mark.parametrize("change", SHAPES_WEIGHTS)
def test_fingerprints_follow_what_shapes_weights(jobs_of: Any, change: str) -> None:
    before, after = jobs_of(*CURRICULUM), jobs_of(*CURRICULUM, *change.split())
    assert before[-1].folder.fingerprint != after[-1].folder.fingerprint


@pytest.mark.parametrize("change", DOES_NOT)
def test_fingerprints_leave_out_what_does_not(jobs_of: Any, change: str) -> None:
    before, after = jobs_of(*CURRICULUM), jobs_of(*CURRICULUM, change)
    assert [job.folder.fingerprint for job in before] == [job.folder.fingerprint for job in after]


def test_a_new_version_of_the_code_gives_new_fingerprints(jobs_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job, *_) = jobs_of(*CURRICULUM)
    monkeypatch.setattr("memlab.config.fingerprint.WEIGHTS_VERSION", 10**6)
    assert fingerprint(job.stage) != job.folder.fingerprint


def test_arms_share_their_pretraining(jobs_of: Any) -> None:
    chains = [jobs_of(f"arm={arm}") for arm in ("direct_copy", "blank_copy", "curriculum", "abrupt_curriculum")]
    assert len({chain[0].folder.path for chain in chains}) == 1
    assert chains[2][1].folder.path == chains[3][1].folder.path, "both curricula begin with the same blank copy"
    assert len({chain[-1].folder.path for chain in chains}) == 4


def test_a_chain_hands_its_weights_on(jobs_of: Any) -> None:
    autoencoder, blank, copy = jobs_of(*CURRICULUM)
    assert [job.stage.name for job in (autoencoder, blank, copy)] == ["autoencoder", "blank_copy", "copy"]
    assert autoencoder.stage.start is None and not autoencoder.stage.freeze_encoder
    assert blank.stage.start == {"fingerprint": autoencoder.folder.fingerprint, "part": "encoder"}
    assert copy.stage.start == {"fingerprint": blank.folder.fingerprint, "part": "all"}
    assert copy.parent == blank.folder.path and copy.stage.freeze_encoder
    assert point([autoencoder, blank, copy])["folder"] == copy.folder.path
    assert point([autoencoder, blank, copy])["encoder_stages"] == 1


def test_a_causal_mixer_is_read_before_its_untrained_row(jobs_of: Any) -> None:
    """Science: from a mixer trained on clm the memory is position L-2; from a transformer the last one."""
    assert jobs_of("arm=causal_curriculum")[-1].stage.model["skip"] == 1
    assert jobs_of("arm=causal_curriculum", "architecture=transformer")[-1].stage.model["skip"] == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("scale.width=130", "width=130 is not divisible by heads=4"),
        ("scale.sequence=100", r"scale.sequence=100 is not .* 4 \* 8 = 32"),
        ("data.path=/nowhere", "no such folder"),
        ("tokenizer.vocab=100", "need 258"),
        ("trainer.batch_size=0", "trainer.batch_size=0"),
        ("trainer.batch_size=many", "trainer.batch_size=many"),
        ("optimizer.lr=fast", "optimizer.lr=fast"),
        ("seed=-1", "seed=-1"),
        ("architecture.bridge=drawbridge", "choose one of unroll, repeat"),
        ("trainer.precision=8", "choose one of 32-true"),
        ("encoder.freeze=true", "take encoder=untrained"),
        ("encoder=from_run", "encoder.run has no default"),
        ("encoder=from_run encoder.run=/nowhere", "not the folder of a finished run"),
        ("encoder=frozen_causal architecture.compression=2", "not learned to compress"),
        ("curriculum=blank_then_copy curriculum.stages.copy.init_from=x", r"init_from=x: not an earlier stage"),
    ],
)
def test_mistakes_are_found_before_any_work(jobs_of: Any, overrides: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jobs_of(*overrides.split())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scale=huge", "gpu\n\tlaptop\n\tpaper\n"),
        ("scale.widht=3", "unknown key scale.widht. Did you mean width"),
        ("objectiv=copy", "unknown key objectiv. Did you mean objective"),
        ("+experiment=nothing", "copy_curriculum"),
    ],
)
def test_unknown_options_and_keys_list_the_valid_ones(override: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        compose_sweep([override])
    assert message in str(error.value)


def test_a_changed_sweep_has_a_report_folder_of_its_own() -> None:
    def folder(*overrides: str) -> str:
        return str(compose_sweep(["+experiment=copy_curriculum", *overrides]).report_folder)

    plain = "runs/reports/copy_curriculum/laptop"
    assert folder() == folder("logger=none") == folder("architecture=mixer") == plain
    assert folder("architecture=mixer,transformer", "seed=0,1") == f"{plain}_architecture=mixer,transformer_seed=0,1"


def test_the_command_line_widens_the_sweep() -> None:
    configs = compose_sweep(["+experiment=copy_curriculum", "architecture=mixer,transformer", "seed=0,1"]).configs
    assert len(configs) == 48
    assert {(c.architecture.name, c.seed) for c in configs} == {
        (a, s) for a in ("mixer", "transformer") for s in (0, 1)
    }


def test_evaluations_are_those_asked_for_once_each(jobs_of: Any) -> None:
    (clm,) = jobs_of("objective=clm", "objective@evaluation.objective=combined")
    assert clm.evaluations[0].file == "evaluation.json"
    assert [e.other_objective for e in clm.evaluations] == [False, True]
    assert len({e.file for e in clm.evaluations}) == 2
    (combined,) = jobs_of("objective=combined", "objective@evaluation.objective=combined")
    assert [e.file for e in combined.evaluations] == ["evaluation.json"]
    autoencoder, probe = jobs_of("encoder=frozen_autoencoder", "curriculum=probe")
    assert len(autoencoder.evaluations) == len(probe.evaluations) == 1


def test_an_evaluation_shapes_no_weights(jobs_of: Any) -> None:
    (plain,) = jobs_of("objective=clm")
    (more,) = jobs_of("objective=clm", "objective@evaluation.objective=copy")
    assert fingerprint(plain.stage) == fingerprint(more.stage)


@pytest.mark.parametrize("objective", ["clm", "copy", "combined"])
def test_a_memory_model_is_one_stage_whoever_asks_for_it(jobs_of: Any, objective: str) -> None:
    (alone,) = jobs_of(f"objective={objective}")
    encoder, _ = jobs_of(f"encoder=frozen_memory_{objective}", "curriculum=probe")
    assert encoder.folder.path == alone.folder.path


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("arm=recurrent", "objective=copy"), "objective= with arm=recurrent"),
        (("arm=recurrent", "encoder=frozen_causal"), "encoder= with arm=recurrent"),
        (("encoder=frozen_causal", "curriculum.stages.main.model=recurrent"), "model=recurrent has no encoder"),
        (("data@evaluation.data=python_docs", "evaluation.data.val=abc"), "evaluation.data.val=abc: choose a number"),
    ],
)
def test_what_does_not_go_together_is_said(jobs_of: Any, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jobs_of(*overrides)

"""From a composed config to a chain of stages: what a stage is made of, and what cannot work."""

import json
from pathlib import Path
from typing import Any

import pytest

from memlab.config.plan import plan_all
from memlab.config.stage import Job
from memlab.errors import UserError
from tests.config.conftest import Chains

CURRICULUM = ("encoder=frozen_autoencoder", "curriculum=blank_then_copy")


@pytest.fixture
def jobs_of(chains_of: Chains) -> Any:
    """jobs_of(*overrides): the stages of one point."""

    def jobs(*overrides: str) -> list[Job]:
        (chain,) = chains_of(*overrides)
        return list(chain.jobs)

    return jobs


# What a user may change, and whether the weights of the last stage would be others.
SHAPES_WEIGHTS = [
    "seed=1",
    "scale.width=64",
    "scale.chunk_length=16",
    "scale.chunks=2",
    "scale.stages.autoencoder.steps=21",
    "scale.stages.memory.steps=11",
    "curriculum.stages.copy.steps=11",
    "scale.stages.memory.warmup=7",
    "scale.embedding_std=0.5",
    "trainer.batch_size=8",
    "trainer.accumulate=2",
    "trainer.precision=bf16-mixed",
    "trainer.clip=null",
    "trainer.train_windows=100",
    "optimizer.lr=0.1",
    "schedule=constant",
    "schedule.warmup=1",
    "architecture=transformer",
    "architecture.fill=1.0",
    "architecture.slots=variable",
    "bridge@architecture.bridge=repeat",
    "architecture.decoder_heads=2",
    "curriculum.stages.copy.objective.hand_over=0.1",
    "curriculum.stages.copy.start_from=null",
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
    "trainer.restarts=1",
    "scale.longer=3",
    "architecture.causal_skip=0",
    "architecture.detach_every=1",
    "architecture.name=mine",
    "evaluation.measures.score.windows=3",
]


@pytest.mark.parametrize("change", SHAPES_WEIGHTS)
def test_fingerprints_follow_what_shapes_weights(jobs_of: Any, change: str) -> None:
    before, after = jobs_of(*CURRICULUM), jobs_of(*CURRICULUM, change)
    assert before[-1].folder.fingerprint != after[-1].folder.fingerprint


@pytest.mark.parametrize("change", DOES_NOT)
def test_fingerprints_leave_out_what_does_not(jobs_of: Any, change: str) -> None:
    before, after = jobs_of(*CURRICULUM), jobs_of(*CURRICULUM, change)
    assert [job.folder.fingerprint for job in before] == [job.folder.fingerprint for job in after]


def test_a_new_version_of_the_code_gives_new_fingerprints(jobs_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job, *_) = jobs_of(*CURRICULUM)
    monkeypatch.setattr("memlab.config.stage.WEIGHTS_VERSION", 10**6)
    assert job.stage.fingerprint != job.folder.fingerprint


def test_arms_share_their_pretraining(chains_of: Chains) -> None:
    arms = "direct_copy,blank_copy,curriculum,abrupt_curriculum,curriculum_no_memory"
    chains = [chain.jobs for chain in chains_of("+experiment=copy_curriculum", f"arm={arms}")]
    assert len({chain[0].folder.path for chain in chains}) == 1
    assert len({chain[1].folder.path for chain in chains[2:]}) == 1, "all curricula begin with the same blank copy"
    assert chains[1][1].folder.path == chains[2][1].folder.path, "and so does the arm that stops there"
    assert len({chain[-1].folder.path for chain in chains}) == 5
    assert chains[0][0].asked_by == tuple(arms.split(","))
    assert chains[0][-1].asked_by == ("direct_copy",)


def test_a_chain_hands_its_weights_on(chains_of: Chains) -> None:
    (chain,) = chains_of(*CURRICULUM)
    autoencoder, blank, copy = chain.jobs
    assert [job.stage.name for job in chain.jobs] == ["autoencoder", "blank_copy", "copy"]
    assert [job.stage.place for job in chain.jobs] == [0, 1, 2]
    assert autoencoder.stage.start is None and not autoencoder.stage.freeze_encoder
    assert blank.stage.start == {"fingerprint": autoencoder.folder.fingerprint, "part": "encoder"}
    assert copy.stage.start == {"fingerprint": blank.folder.fingerprint, "part": "all"}
    assert copy.parent == blank.folder.path and copy.stage.freeze_encoder
    assert chain.point()["folder"] == copy.folder.path
    assert chain.point()["encoder_stages"] == chain.encoder_stages == 1


def test_memories_can_be_taken_away_in_the_second_stage(chains_of: Chains) -> None:
    """The published control of Figure 4d: the decoder goes on, the slots hold constants."""
    (chain,) = chains_of("+experiment=copy_curriculum", "arm=curriculum_no_memory")
    _, blank, copy = chain.jobs
    assert copy.stage.model == {**blank.stage.model, "encoder": None}
    assert copy.stage.start == {"fingerprint": blank.folder.fingerprint, "part": "decoder"}
    assert not copy.stage.freeze_encoder


def test_a_fresh_embedding_freezes_the_blocks_alone(chains_of: Chains) -> None:
    whole, fresh = chains_of("+experiment=copy_curriculum", "arm=direct_copy,direct_copy_fresh")
    assert (whole.jobs[-1].stage.freeze_encoder, fresh.jobs[-1].stage.freeze_encoder) == (True, "blocks")
    assert whole.jobs[0].folder.path == fresh.jobs[0].folder.path


@pytest.mark.parametrize(
    ("architecture", "skip"), [("mixer", 1), ("transformer", 0), ("mixer_transformer", 1), ("transformer_mixer", 0)]
)
def test_a_causal_mixer_is_read_before_its_untrained_row(jobs_of: Any, architecture: str, skip: int) -> None:
    """From a mixer trained on next-token prediction the memory is position L-2; from a transformer the last one."""
    jobs = jobs_of("encoder=frozen_causal", f"architecture={architecture}")
    assert jobs[-1].stage.model["encoder"]["skip"] == skip


@pytest.mark.parametrize("objective", ["clm", "copy", "combined"])
def test_a_memory_model_is_one_stage_whoever_asks_for_it(jobs_of: Any, objective: str) -> None:
    (alone,) = jobs_of(f"objective={objective}")
    encoder, _ = jobs_of(f"encoder=frozen_memory_{objective}", "curriculum=probe")
    assert encoder.folder.path == alone.folder.path


def test_evaluations_are_those_asked_for_once_each(jobs_of: Any) -> None:
    measures = ["score", "greedy", "capacity", "samples"]
    (clm,) = jobs_of("objective=clm", "objective@evaluation.objective=combined")
    assert [(e.name, e.own_objective) for e in clm.evaluations] == [(m, own) for own in (True, False) for m in measures]
    assert clm.evaluations[0].file == "evaluation-score.json"
    assert len({e.file for e in clm.evaluations}) == 8
    (combined,) = jobs_of("objective=combined", "objective@evaluation.objective=combined")
    assert [e.file for e in combined.evaluations] == [f"evaluation-{m}.json" for m in measures]
    autoencoder, probe = jobs_of("encoder=frozen_autoencoder", "curriculum=probe", "data@evaluation.data=python_docs")
    assert len(autoencoder.evaluations) == 4 and [e.prefix for e in probe.evaluations[4:]] == ["python_docs/"] * 4
    several = ("+data@evaluation.data.near=python_docs", "+data@evaluation.data.far=uniform_random")
    (both,) = jobs_of("objective=clm", *several)
    assert [e.prefix for e in both.evaluations[::4]] == ["", "python_docs/", "uniform_random/"]
    assert len({e.file for e in both.evaluations}) == 12


def test_an_evaluation_shapes_no_weights(jobs_of: Any) -> None:
    (plain,) = jobs_of("objective=clm")
    (more,) = jobs_of("objective=clm", "objective@evaluation.objective=copy")
    assert plain.stage.fingerprint == more.stage.fingerprint


def test_settings_of_a_measure_make_it_again(jobs_of: Any) -> None:
    (few,), (many,) = jobs_of("trainer.evaluate_windows=8"), jobs_of("trainer.evaluate_windows=9")
    assert few.evaluations[0].file == many.evaluations[0].file
    assert few.evaluations[0].settings != many.evaluations[0].settings


def test_mixers_by_layer_are_given_on_the_command_line(chains_of: Chains) -> None:
    mixing = "{_target_:memlab.models.MaskedMixing,_partial_:true,heads:0}"
    attention = "{_target_:memlab.models.CausalAttention,_partial_:true,heads:4}"
    stack = f"architecture.encoder.stack.mixer=[{mixing},{attention}]"
    (chain,) = chains_of(stack, "scale.layers=3", "architecture.name=alternating")
    mixers = chain.jobs[0].stage.model["encoder"]["stack"]["mixer"]
    assert [mixer["_target_"] for mixer in mixers] == ["memlab.models.MaskedMixing", "memlab.models.CausalAttention"]
    assert chain.label.startswith("architecture=alternating ")
    with pytest.raises(UserError, match=r"width=34 is not divisible by heads=4; .*mixer\.1\.heads"):
        chains_of(stack, "scale.encoder_width=34")


def test_seeds_may_be_large(chains_of: Chains) -> None:
    largest = 2**63 - 1
    assert chains_of(f"seed={largest}")[0].jobs[0].stage.training["seed"] == largest
    with pytest.raises(UserError, match="seed below"):
        chains_of(f"seed={largest + 1}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("scale.width=130", "width=130 is not divisible by heads=4"),
        ("scale.width=many", "scale.width=many: choose a whole number of at least 1"),
        ("scale.layers=0", "scale.layers=0"),
        ("scale.heads=-1", "scale.heads=-1: choose a whole number of at least 0"),
        ("scale.lr=null", "scale.lr=null: choose a number"),
        ("scale.stages.memory.steps=1.5", "curriculum.stages.main.steps=1.5: choose a whole number"),
        ("data.path=/nowhere", "no such folder"),
        ("data.val=2", "data.val=2: choose a share"),
        ("data.val=half", "val=half should be float"),
        ("tokenizer.vocab=100", "at least 258"),
        ("trainer.batch_size=0 scale.encoder_batch_size=1", "trainer.batch_size=0"),
        ("scale.batch_size=many", "scale.batch_size=many"),
        ("trainer.devices=3", "cannot be shared out to 3 devices"),
        ("trainer.threads=0", "trainer.threads=0: choose a whole number of at least 1, or null"),
        ("trainer.precision=8", "choose one of 32-true"),
        ("optimizer.lr=fast", "optimizer.lr=fast"),
        ("seed=-1", "seed=-1"),
        ("seed=true", "seed=true: choose a whole number"),
        ("dry_run=maybe", "dry_run=maybe: choose one of false, true"),
        ("architecture.bridge=drawbridge encoder=frozen_autoencoder", "bridge=drawbridge should be"),
        ("architecture.slots=some", "choose one of fixed, variable"),
        ("architecture.decoder=null", "architecture.decoder=null names no class"),
        ("curriculum.stages.main=null", "curriculum.stages.main=null: this is a group of keys"),
        ("curriculum.stages.main.model=memory", "choose an option, model@curriculum.stages.main.model=OPTION"),
        ("curriculum.stages.main.objective=copy", "objective@curriculum.stages.main.objective=OPTION"),
        ("evaluation.measures.score=null", "measure@evaluation.measures.score=OPTION"),
        ("evaluation.measures.score.windows=-1", "evaluation.measures.score.windows=-1: choose a whole number"),
        ("curriculum.stages.main.name=a/b", "it names a folder, so take letters"),
        ("schedule.warmup=null", "schedule.warmup=null: choose a number"),
        ("~curriculum", "curriculum=null: this is a group of keys"),
        ("~evaluation", "this is a group of keys"),
        ("~seed", "seed=null: choose a seed"),
        ("arms=3", "name each arm, and what it adds"),
        ("architecture.encoder.stack.mixer=[a]", "mixer=['a'] should be"),
        ("objective=combined objective.copy_weight=7", "between 0 and 1"),
        ("encoder=from_run encoder.run=3", "3 is not the folder of a finished run"),
        ("encoder.freeze=true", "take encoder=untrained"),
        ("encoder.freeze=maybe", "choose one of false, true, blocks"),
        ("encoder=from_run", "give the folder of a finished run, encoder.run=FOLDER"),
        ("encoder=from_run encoder.run=/nowhere", "not the folder of a finished run"),
        ("encoder=frozen_causal architecture.compression=2", "not learned to compress"),
        ("encoder=frozen_causal model@curriculum.stages.main.model=recurrent", "has no encoder that could start from"),
        ("encoder=frozen_causal encoder.freeze=false curriculum.stages.main.model.encoder=null", "take encoder=none"),
        ("curriculum=blank_then_copy curriculum.stages.copy.start_from=x", "start_from=x: not an earlier stage"),
        ("curriculum=blank_then_copy curriculum.stages.blank.model.encoder=null", "has no encoder, this stage's model"),
        ("curriculum=none", "nothing to train"),
        ("data@evaluation.data=python_docs evaluation.data.val=abc", "val=abc should be float"),
    ],
)
def test_mistakes_are_found_before_any_work(chains_of: Chains, overrides: str, message: str) -> None:
    from memlab.training.estimate import flops_per_step

    with pytest.raises(UserError) as error:
        for chain in chains_of(*overrides.split()):
            for job in chain.jobs:
                flops_per_step(job.stage)
    assert message in str(error.value)


@pytest.mark.parametrize("group", ["scale", "data", "architecture", "encoder", "curriculum", "objective"])
def test_an_option_without_a_name_is_told_to_have_one(group: str, corpus: Path, tmp_path: Path) -> None:
    from memlab.config.compose import compose_sweep
    from tests.conftest import smoke

    (config,) = compose_sweep(smoke(corpus, tmp_path)).configs
    config[group].name = None
    with pytest.raises(UserError, match=f"the option of {group} has no name: add a line"):
        plan_all([config])


def test_stages_are_plain_values(jobs_of: Any) -> None:
    """A stage is hashed and written as it stands in YAML."""
    for job in jobs_of(*CURRICULUM):
        assert json.loads(json.dumps(job.stage.model)) == job.stage.model
        assert "${" not in json.dumps([job.stage.model, job.stage.objective, job.stage.training])

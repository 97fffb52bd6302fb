"""From a command line to points: arms, sweeps, flags, and the folder of a report."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from memlab.config import compose as module
from memlab.config.compose import compose_sweep, expand_arms
from memlab.config.overrides import split_words
from memlab.errors import UserError

CURRICULUM = "+experiment=copy_curriculum"


def folder(*overrides: str) -> Path:
    """Return the report's folder of a sweep of one arm."""
    return compose_sweep([CURRICULUM, "arm=no_memory", *overrides]).report_folder


SCALES = "gpu laptop laptop_capacity laptop_llm_information laptop_oracle laptop_pretrained_decoder laptop_throughput"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scale=huge", "\n\t".join([*SCALES.split(), "paper\n"])),
        ("scale=null", "a group takes the name of an option"),
        ("scale.widht=3", "unknown key scale.widht. Did you mean width"),
        ("architecture.decoder.stack.widht=3", "unknown key architecture.decoder.stack.widht. Did you mean width"),
        ("curriculum.stages.main.model.chunk=3", "Did you mean chunks"),
        ("optimizer.beta=3", "Did you mean betas"),
        ("schedule.warm=3", "Valid keys there: _target_, warmup"),
        ("objective.handover=3", "Did you mean hand_over"),
        ("data.pth=3", "unknown key data.pth"),
        ("evaluation.measures.score.window=3", "Did you mean windows"),
        ("logger.projet=x", "Did you mean project"),
        ("hydra.launcher.partition=gpu", "unknown key hydra.launcher.partition"),
        ("objectiv=copy", "unknown key objectiv. Did you mean objective"),
        ("+experiment=nothing", "copy_curriculum"),
        ("experiment=copy", "+experiment=copy"),
        ("word", "'word' is not an override: write GROUP=OPTION or KEY=VALUE"),
        ("=3", "'=3' is not an override"),
        ("runs_dir=a,b", """type 'runs_dir="a,b"'"""),
        ("dry_run=true,false", "dry_run takes one value per command"),
        ("architecture.encoder=null", "architecture.encoder"),
    ],
)
def test_what_does_not_exist_is_said_with_what_does(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        compose_sweep([override])
    assert message in str(error.value)
    assert "_base" not in str(error.value), "files that options are made of are no options"


# Arms.


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["arm=curriculum"], "arms belong to an experiment, add +experiment=NAME"),
        ([CURRICULUM, "arm=nothing"], "arm=nothing: this experiment has the arms no_memory, causal_direct_copy"),
        ([CURRICULUM, "arm=curriculum,nothing"], "arm=nothing: this experiment has the arms no_memory"),
        ([CURRICULUM, "arm=curriculum", "encoder=none"], "encoder= with arm=curriculum, which chooses it"),
        ([CURRICULUM, "arm=curriculum", "curriculum=none"], "curriculum= with arm=curriculum"),
        ([CURRICULUM, "arm=direct_copy", "objective=clm"], "objective= with arm=direct_copy"),
        ([CURRICULUM, "arm=curriculum", "objective.hand_over=0.3"], "objective= does nothing with curriculum=blank_th"),
        (["curriculum=probe", "objective=clm", "encoder=untrained"], "objective= does nothing with curriculum=probe"),
    ],
)
def test_what_does_not_go_together_is_said(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        compose_sweep(overrides)
    assert message in str(error.value)


def test_an_arm_is_a_piece_of_command_line() -> None:
    (arm,) = compose_sweep([CURRICULUM, "arm=headed_decoder"]).configs
    (typed,) = compose_sweep(["encoder=frozen_autoencoder", "objective=copy", "architecture.decoder_heads=4"]).configs
    for group in ("encoder", "curriculum", "architecture", "objective"):
        assert arm[group] == typed[group]
    assert arm.arm == "headed_decoder" and arm.experiment == "copy_curriculum" and not arm.arms


def test_the_command_line_comes_behind_the_arm() -> None:
    (config,) = compose_sweep([CURRICULUM, "arm=direct_copy_fresh", "encoder.freeze=true"]).configs
    assert config.encoder.freeze is True


def test_an_arm_of_ones_own_may_have_quotes_and_spaces() -> None:
    line = """arms.no_memory='encoder=none objective=copy "architecture.name=\\"two words\\""'"""
    (config,) = compose_sweep([CURRICULUM, "arm=no_memory", line]).configs
    assert config.architecture.name == "two words"


def test_all_arms_run_unless_some_are_chosen() -> None:
    every = [config.arm for config in compose_sweep([CURRICULUM]).configs]
    assert every[0] == "no_memory" and len(every) == len(set(every)) == 15
    some = compose_sweep([CURRICULUM, "arm=curriculum,no_memory"]).configs
    assert [config.arm for config in some] == ["curriculum", "no_memory"]


def test_the_command_line_widens_the_sweep() -> None:
    configs = compose_sweep(
        [CURRICULUM, "arm=no_memory,trainable", "architecture=mixer,transformer", "seed=0,1"]
    ).configs
    points = {(config.arm, config.architecture.name, config.seed) for config in configs}
    assert points == {
        (arm, architecture, seed)
        for arm in ("no_memory", "trainable")
        for architecture in ("mixer", "transformer")
        for seed in (0, 1)
    }
    assert len(configs) == 8


def test_points_are_composed_once_and_those_of_other_seeds_not_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    original = module.compose

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(options["overrides"])
        return original(*arguments, **options)

    monkeypatch.setattr(module, "compose", counted)
    configs = compose_sweep(
        [CURRICULUM, "arm=no_memory,trainable", "architecture=mixer,transformer", "seed=0,1,2"]
    ).configs
    assert len(configs) == 12 and len(calls) == 1 + 4, "once to see the experiment's arms, then every point"
    calls.clear()
    (config,) = compose_sweep(["scale=smoke", "seed=7"]).configs
    assert config.seed == 7 and len(calls) == 1


def test_points_that_share_a_composition_do_not_share_values() -> None:
    one, two = compose_sweep(["scale=smoke", "seed=1,2", "architecture.name=seed_${seed}"]).configs
    assert (one.architecture.name, two.architecture.name) == ("seed_1", "seed_2")
    one.scale.width = 1
    assert two.scale.width == 32


# Reports.


def test_a_changed_sweep_has_a_report_folder_of_its_own() -> None:
    def whole(*overrides: str) -> Path:
        return compose_sweep(["+experiment=causal_memory", *overrides]).report_folder

    plain = whole()
    assert plain.parts[-3:] == ("reports", "causal_memory", "laptop")
    assert (
        whole("logger=none", "architecture=mixer", "runs_dir=runs", "hydra/launcher=local", "trainer.threads=1")
        == plain
    )
    few = whole("arm=memory", "seed=0,1", "architecture=mixer")
    assert few.parent == plain.parent and few.name.startswith("laptop_arm=memory_seed=0,1-")


def test_folders_of_long_commands_do_not_collide() -> None:
    """Two sweeps that differ behind the place where a name is cut."""
    long = ["architecture.embedding_std=0.02", "scale.heads=4", "architecture.memories=1", "trainer.clip=0.5"]
    one, two = folder(*long, "optimizer.lr=1e-3"), folder(*long, "optimizer.lr=9e-3")
    assert one != two and one.name[:60] == two.name[:60]


def test_folders_of_names_that_look_alike_do_not_collide() -> None:
    one, two = (folder("data=text_files", f"data.path={path}") for path in ("/a/b", "/a-b"))
    assert one != two


def test_order_and_plus_signs_of_overrides_do_not_matter() -> None:
    assert (
        folder("scale.width=64", "seed=1") == folder("seed=1", "scale.width=64") == folder("seed=1", "++scale.width=64")
    )


@pytest.mark.parametrize("name", ["\u6587" * 60, "\u00fc" * 200, "a" * 200, "\U0001f600" * 40])
def test_a_folder_s_name_is_short_in_bytes(name: str) -> None:
    place = folder("data=text_files", f'data.path="/{name}/{name}"', f'architecture.name="{name}"')
    assert len(place.name.encode()) <= 100


@pytest.mark.parametrize("key", ["data.path", "+data.path", "evaluation.data.path", "tokenizer.file", "objective.x"])
def test_no_path_is_in_a_folder_s_name(key: str) -> None:
    given = ["data=text_files", "data@evaluation.data=text_files", "data.path=x", "evaluation.data.path=x"]
    sweep = compose_sweep([*given, f"{'' if 'path' in key else '+'}{key.lstrip('+')}=/home/me/secret"])
    assert "secret" not in sweep.report_folder.name and "home" not in sweep.report_folder.name


@pytest.mark.parametrize(
    ("overrides", "change"),
    [
        (["scale=paper", "trainer=gpu"], []),
        (["scale=paper", "trainer=ddp", "trainer.devices=8"], []),
        (["scale=paper", "trainer.precision=bf16-mixed"], []),
        (["scale=paper", "trainer=default"], ["trainer.precision=32-true"]),
        (["trainer=gpu"], ["trainer.precision=bf16-mixed"]),
        (["trainer.workers=3", "trainer.threads=1"], []),
        (["trainer.batch_size=32", "trainer.accumulate=2"], ["trainer.batch_size=32", "trainer.accumulate=2"]),
        (["trainer.train_windows=5"], ["trainer.train_windows=5"]),
    ],
)
def test_hardware_is_no_change_of_the_experiment(overrides: list[str], change: list[str]) -> None:
    sweep = compose_sweep([CURRICULUM, "arm=no_memory", *overrides])
    assert sweep.other_changes == change


def test_which_points_run_is_no_other_change() -> None:
    sweep = compose_sweep([CURRICULUM, "arm=no_memory", "seed=0,1", "scale.width=64"])
    assert sweep.other_changes == ["scale.width=64"] and len(sweep.changes) == 3


def test_the_command_is_what_to_type() -> None:
    overrides = [CURRICULUM, "arm=no_memory,trainable", 'data.path="/a b\'s/[x]"', "data=text_files"]
    words = shlex.split(compose_sweep(overrides).command)
    assert words == ["python", "-m", "memlab.run", *overrides]


# The runs folder.


def test_the_runs_folder_is_absolute_once_composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = compose_sweep(["runs_dir=here/../there", "hydra.job.chdir=true", "hydra/launcher=slurm"])
    assert sweep.configs[0].runs_dir == str(tmp_path / "there") == str(sweep.runs_dir)
    assert sweep.launcher["submitit_folder"] == f"{tmp_path}/there/jobs/%j"


@pytest.mark.parametrize(
    ("value", "place"), [("", "{here}/runs"), ("~/mine", "{home}/mine"), ("mine", "{here}/mine"), (None, "{here}/runs")]
)
def test_memlab_runs_names_the_runs_folder(
    value: str | None, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somebody")
    monkeypatch.delenv("MEMLAB_RUNS", raising=False)
    if value is not None:
        monkeypatch.setenv("MEMLAB_RUNS", value)
    assert str(compose_sweep([]).runs_dir) == place.format(here=tmp_path, home="/somebody")


def test_a_tilde_on_the_command_line_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    assert str(compose_sweep(['runs_dir="~/mine"']).runs_dir) == "/somebody/mine"


# Flags.


def test_flags_may_stand_anywhere() -> None:
    flags = ["--cfg", "job", "--resolve"]
    for words in (
        ["a=1", *flags, "b=2"],
        [*flags, "a=1", "b=2"],
        ["a=1", "b=2", "-m", *flags],
        ["--multirun", "a=1", *flags, "b=2"],
    ):
        assert split_words(words) == (flags, ["a=1", "b=2"])
    assert split_words(["--info", "a=1"]) == (["--info"], ["a=1"])
    assert split_words(["~evaluation.measures.greedy"]) == ([], ["~evaluation.measures.greedy"])


def test_a_folder_of_configs_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my conf" / "objective").mkdir(parents=True)
    (tmp_path / "my conf" / "objective" / "mine.yaml").write_text("name: mine\n_target_: memlab.objectives.Copy\n")
    for words in (["--config-dir", "my conf"], ["--config-dir=my conf"], ['hydra.searchpath=["file://my conf"]']):
        flags, overrides = split_words([*words, "objective=mine"])
        (config,) = compose_sweep(overrides).configs
        assert config.objective.name == "mine" and not flags


@pytest.mark.parametrize("flag", ["--config-name", "--run", "-r", "--experimental-rerun", "--halp"])
def test_other_flags_are_refused(flag: str) -> None:
    with pytest.raises(UserError, match=f"{flag}: memlab has the flags --help"):
        split_words([flag, "a=1"])


def test_an_arm_is_shown_as_what_it_stands_for() -> None:
    shown = expand_arms([CURRICULUM, "arm=direct_copy", "seed=3"])
    assert shown == ["encoder=frozen_autoencoder", "objective=copy", CURRICULUM, "arm=direct_copy", "seed=3"]
    assert expand_arms([CURRICULUM, "seed=3"]) == [CURRICULUM, "seed=3"]
    with pytest.raises(UserError, match="choose one arm to be shown"):
        expand_arms([CURRICULUM, "arm=direct_copy,trainable"])
    with pytest.raises(UserError, match="this experiment has the arms"):
        expand_arms([CURRICULUM, "arm=nothing"])
    with pytest.raises(UserError, match="Available options in 'scale'"):
        expand_arms([CURRICULUM, "arm=direct_copy", "scale=huge"])

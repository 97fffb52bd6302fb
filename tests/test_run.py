"""The command line, as a user types it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command, smoke, wait_for

LONG = ("encoder=frozen_autoencoder", "scale.stages.autoencoder.steps=150", "scale.stages.memory.steps=150")
DIVERGES = "arms.no_memory='encoder=none objective=copy optimizer.lr=1e30'"
HEAVY = {"torch", "lightning", "datasets", "wandb", "matplotlib", "tokenizers", "submitit", "transformers"}


def text(result: subprocess.CompletedProcess[str]) -> str:
    return result.stdout + result.stderr


def imported_by(
    words: list[str], environment: dict[str, str], folder: Path
) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Run the command; return the packages in sys.modules at its end, and its result."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('IMPORTED', *{name.partition('.')[0] for name in sys.modules}))\n"
        "from memlab.run import main\nmain()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    printed, _, imported = result.stdout.partition("IMPORTED")
    result.stdout = printed
    return set(imported.split()), result


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["scale=huge"], "Available options in 'scale'"),
        (["scale.widht=3"], "unknown key scale.widht. Did you mean width?"),
        (
            ["architecture.decoder.stack.mixer.tap=3"],
            "unknown key architecture.decoder.stack.mixer.tap. Did you mean taps",
        ),
        (["scale.width=130"], "width=130 is not divisible by heads=4"),
        (["data=text_files"], "data.path has no default"),
        (["data=text_files", "data.path=/nowhere"], "no such folder"),
        (["+data.colour=blue"], "memlab.data.PythonSource does not take colour. Valid keys: "),
        (["tokenizer.vocab=9"], "at least 258"),
        (["+tokenizer.merges=9"], "memlab.data.BytePairEncoding does not take merges. Valid keys: vocab"),
        (["encoder=from_run", "encoder.run=/nowhere"], "not the folder of a finished run"),
        (["+experiment=copy_curriculum", "arm=curriculum,nothing"], "arm=nothing: this experiment has the arms"),
        (["+model=recurrent"], "unknown key model."),
        (["+foo=3"], "unknown key foo."),
        (["seed=["], """type 'seed="["'"""),
        (["seed=9223372036854775808"], "choose a seed below 2^63"),
        (["--config-name", "x"], "memlab has the flags --help"),
    ],
)
def test_a_mistake_gets_one_message_and_no_traceback(
    overrides: list[str], message: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    imported, result = imported_by([f"runs_dir={tmp_path}", *overrides], environment, tmp_path)
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in result.stderr and not result.stdout.strip()
    assert "hydra" in imported and not imported & HEAVY, "nothing heavy is needed to see this"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["scale.chunks=3"], "must be an even number"),
        (["+optimizer.betaz=1"], "torch.optim.AdamW (optimizer) does not take betaz. Valid keys: params, lr, betas"),
        (["optimizer.betas=3"], "torch.optim.AdamW (optimizer): betas=3 should be"),
        (["optimizer._target_=torch.optim.Nothing"], "_target_=torch.optim.Nothing cannot be imported"),
        (["+schedule.to=0"], "memlab.training.LinearDecay (schedule) does not take to. Valid keys: warmup"),
        (["+logger.project=x"], "memlab.training.NoLogger (logger) does not take project"),
        (["+evaluation.measures.score.on=train"], "memlab.measures.Score (measures.score) does not take on."),
        (["+objective.speed=3"], "memlab.objectives.Copy (objective) does not take speed. Valid keys: "),
        (["objective.hand_over=soon"], "memlab.objectives.Copy (objective): hand_over=soon should be float"),
        (["+architecture.encoder.depth=3"], "memlab.models.StackEncoder (model.encoder) does not take depth."),
        (["architecture.encoder.stack.mixer=deep"], "memlab.models.Stack (model.encoder.stack): mixer=deep should be"),
        (["architecture.memories=9"], "too short for memories=9"),
        (["optimizer.betas=[0.9]"], "the optimizer or its schedule does not take these values"),
        (["objective@evaluation.objective=autoencode"], "needs a model that can regenerate"),
    ],
)
@pytest.mark.parametrize("dry_run", [pytest.param(False, marks=pytest.mark.slow), True])
def test_mistakes_that_only_a_class_sees_come_before_any_training(
    overrides: list[str], message: str, dry_run: bool, memlab: Command, tmp_path: Path
) -> None:
    result = memlab(*overrides, f"dry_run={dry_run}", runs=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in text(result)
    assert not list(tmp_path.iterdir())


def test_a_vocabulary_larger_than_the_text_supports(memlab: Command, tmp_path: Path) -> None:
    result = memlab("tokenizer.vocab=20000", runs=tmp_path)
    assert result.returncode == 2
    assert "Choose at most" in result.stderr and "Traceback" not in text(result)


def test_no_gpu_is_said(memlab: Command, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    result = memlab("trainer.accelerator=gpu", runs=tmp_path)
    assert result.returncode != 0
    assert "trainer.accelerator=gpu" in result.stderr and "Traceback" not in text(result)


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--help"], "python -m memlab.run +experiment=copy_curriculum"),
        (["--cfg", "job"], "_target_: memlab.training.WandbRuns"),
        (["scale=smoke", "--cfg", "job", "--resolve", "seed=3"], "seed: 3"),
        (["--cfg", "job", "+experiment=copy_curriculum", "arm=direct_copy_fresh"], "freeze: blocks"),
        (["--info", "defaults-tree"], "scale: laptop"),
    ],
)
def test_what_hydra_prints_needs_nothing_heavy(
    words: list[str], printed: str, environment: dict[str, str], tmp_path: Path
) -> None:
    imported, result = imported_by(words, environment, tmp_path)
    assert result.returncode == 0 and printed in result.stdout, text(result)
    assert "hydra" in imported and not imported & HEAVY
    assert not list(tmp_path.iterdir())


def test_dry_run_prints_the_plan_and_writes_nothing(memlab: Command, tmp_path: Path) -> None:
    result = memlab("+experiment=copy_curriculum", "dry_run=true", runs=tmp_path)
    assert result.returncode == 0, text(result)
    assert "15 points, 19 stages" in result.stdout and "to train" in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_kill_at_any_moment_costs_no_bit(
    memlab: Command, tmp_path: Path, corpus: Path, environment: dict[str, str]
) -> None:
    """kill -9 in the first stage, again in the second; then the same command once more."""
    runs = tmp_path / "killed"
    command = [sys.executable, "-m", "memlab.run", *smoke(corpus, runs), *LONG]
    for stage in ("autoencoder", "copy"):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda stage=stage: list(runs.glob(f"stages/{stage}-*/checkpoints/step-*")))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not list(runs.glob("stages/copy-*/finished.json"))
    assert memlab(*LONG, runs=runs).returncode == 0
    assert memlab(*LONG, runs=tmp_path / "unbroken").returncode == 0
    weights = {path.parent.name: path.read_bytes() for path in runs.glob("stages/*/model.safetensors")}
    assert len(weights) == 2
    for path in (tmp_path / "unbroken").glob("stages/*/model.safetensors"):
        assert weights[path.parent.name] == path.read_bytes()


@pytest.mark.slow
def test_two_users_at_the_same_moment_train_once_and_both_report(
    corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    experiment = ("+experiment=copy_curriculum", "arm=direct_copy", "scale.stages.autoencoder.steps=150")
    command = [
        sys.executable,
        "-m",
        "memlab.run",
        *smoke(corpus, tmp_path),
        *experiment,
        "scale.stages.memory.steps=150",
    ]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    for name in ("autoencoder", "copy"):
        assert sum(f"{name}-" in line and "150 steps in" in line for o in outputs for line in o.splitlines()) == 1
    assert all("in short: " in output and "report.md" in output for output in outputs)
    assert "another process works on" in "".join(outputs)


def test_the_experiment_ends_with_its_report_and_a_second_one_trains_nothing(memlab: Command, tmp_path: Path) -> None:
    first = memlab("+experiment=copy_curriculum", runs=tmp_path)
    assert first.returncode == 0, text(first)
    for told in ("arms", "holds", "figure.png", "report.md", "next:", "architecture=mixer,transformer"):
        assert told in first.stdout
    folder = next(tmp_path.glob("reports/copy_curriculum/*"))
    assert folder.name.startswith("smoke")
    assert {"report.json", "results.csv", "report.md", "figure.png"} <= {path.name for path in folder.iterdir()}
    report = json.loads((folder / "report.json").read_text())
    assert {"experiment", "scale", "rows", "claims"} <= {*report} and len(report["rows"]) == 15
    assert all({"id", "text", "holds", "measured"} <= {*claim} for claim in report["claims"])

    weights = {path: path.stat().st_mtime_ns for path in tmp_path.glob("stages/*/model.safetensors")}
    second = memlab("+experiment=copy_curriculum", runs=tmp_path)
    assert second.returncode == 0
    assert "steps in" not in second.stdout and second.stdout.count(": finished") == 15
    assert weights == {path: path.stat().st_mtime_ns for path in tmp_path.glob("stages/*/model.safetensors")}

    (folder / "report.json").unlink()
    alone = memlab("+experiment=copy_curriculum", runs=tmp_path, module="memlab.report")
    failed = [claim["id"] for claim in json.loads((folder / "report.json").read_text())["claims"] if not claim["holds"]]
    assert alone.returncode == (3 if failed else 0)
    assert all(name in alone.stdout for name in failed)


def test_a_report_without_runs_says_what_to_run(memlab: Command, tmp_path: Path) -> None:
    result = memlab("+experiment=copy_curriculum", runs=tmp_path, module="memlab.report")
    assert result.returncode == 2
    assert "run it first, python -m memlab.run" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_point_that_fails_does_not_stop_the_others(memlab: Command, tmp_path: Path) -> None:
    result = memlab(
        "+experiment=copy_curriculum", "arm=no_memory,trainable", DIVERGES, "trainer.log_every=1", runs=tmp_path,
    )  # fmt: skip
    assert result.returncode == 1
    assert "not finite" in result.stderr and "Traceback" not in text(result)
    assert result.stderr.count("not finite") <= 2
    assert len(list(tmp_path.glob("stages/*/finished.json"))) == 1
    assert list(tmp_path.glob("reports/copy_curriculum/*/report.md"))


def test_memlab_runs_moves_the_runs_folder(corpus: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    overrides = [o for o in smoke(corpus, tmp_path) if not o.startswith("runs_dir")]
    result = subprocess.run(
        [sys.executable, "-m", "memlab.run", *overrides],
        env={**environment, "MEMLAB_RUNS": str(tmp_path / "moved")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, text(result)
    assert list((tmp_path / "moved").glob("stages/*/finished.json"))
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]


@pytest.mark.slow
def test_overfitting_sees_a_handful_of_windows_many_times(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "memlab.run", "+debug=overfit", f"runs_dir={tmp_path}"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, text(result)
    (folder,) = tmp_path.glob("stages/copy-*")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if "train/cross_entropy" in row]
    held_out = [row for row in rows if "val/cross_entropy" in row]
    assert trained[0]["train/cross_entropy"] > 4
    assert trained[-1]["train/cross_entropy"] < 0.05 and trained[-1]["train/token_accuracy"] > 0.99
    assert held_out[-1]["val/cross_entropy"] > held_out[0]["val/cross_entropy"] > 4
    assert "loggers" not in result.stdout and not list(folder.glob("wandb*"))


def test_a_seed_beyond_32_bits_trains(memlab: Command, tmp_path: Path) -> None:
    for seed in (2**32, 2**63 - 1):
        result = memlab(f"seed={seed}", "objective=combined", runs=tmp_path)
        assert result.returncode == 0, text(result)
    assert len(list(tmp_path.glob("stages/combined-*/finished.json"))) == 2


@pytest.mark.slow
def test_mixed_architectures_are_rows_of_their_own(memlab: Command, tmp_path: Path) -> None:
    both = "architecture=mixer_transformer,transformer_mixer"
    result = memlab("+experiment=copy_curriculum", "arm=trainable", both, runs=tmp_path)
    assert result.returncode == 0, text(result)
    (report,) = tmp_path.glob("reports/copy_curriculum/*/report.json")
    rows = json.loads(report.read_text())["rows"]
    assert [row["architecture"] for row in rows] == ["mixer_transformer", "transformer_mixer"]

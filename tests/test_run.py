"""The command line, as a user types it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Command, smoke, wait_for

LONG = ("encoder=frozen_autoencoder", "architecture.autoencoder_steps=150", "scale.steps.memory=150")


def text(result: subprocess.CompletedProcess[str]) -> str:
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["scale=huge"], "Available options in 'scale'"),
        (["scale.widht=3"], "unknown key scale.widht. Did you mean width?"),
        (["scale.width=130"], "width=130 is not divisible by heads=4"),
        (["scale.sequence=100"], "scale.sequence=100 is not"),
        (["data=text_files"], "data.path has no default"),
        (["data=text_files", "data.path=/nowhere"], "no such folder"),
        (["tokenizer.vocab=9"], "need 258"),
        (["encoder=from_run", "encoder.run=/nowhere"], "not the folder of a finished run"),
        (["+experiment=copy_curriculum", "arm=curriculum,nothing"], "Could not find 'arm/nothing'"),
        (["seed=["], "error"),
    ],
)
def test_a_mistake_gets_one_message_and_no_traceback(
    overrides: list[str], message: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "memlab.run", f"runs_dir={tmp_path}", *overrides],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    errors = "\n".join(line for line in result.stderr.splitlines() if not line.startswith("import time:"))
    assert result.returncode == 2
    assert message in errors and "Traceback" not in errors
    assert "| torch\n" not in result.stderr, "nothing heavy is needed to see this"
    assert not list(tmp_path.iterdir())
    assert time.monotonic() - started < 60


def test_mistakes_that_only_the_model_sees_come_before_any_training(memlab: Command, tmp_path: Path) -> None:
    result = memlab("+experiment=copy_curriculum", "scale.chunks=3", "scale.sequence=24", runs=tmp_path)
    assert result.returncode == 2
    assert "must be an even number" in result.stderr and "Traceback" not in text(result)
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


@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job"]])
def test_help_and_config_import_nothing_heavy(flags: list[str], environment: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "memlab.run", *flags],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert not imported & {"torch", "lightning", "datasets", "wandb", "matplotlib", "tokenizers"}
    assert "hydra" in imported


def test_dry_run_prints_the_plan_and_writes_nothing(memlab: Command, tmp_path: Path) -> None:
    result = memlab("+experiment=copy_curriculum", "dry_run=true", runs=tmp_path)
    assert result.returncode == 0, text(result)
    assert "12 points, 16 stages" in result.stdout and "to train" in result.stdout
    assert not list(tmp_path.iterdir())


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


def test_two_users_at_the_same_moment_train_once_and_both_report(
    corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    experiment = ("+experiment=copy_curriculum", "arm=direct_copy", "scale.steps.autoencoder.mixer=150")
    command = [sys.executable, "-m", "memlab.run", *smoke(corpus, tmp_path), *experiment, "scale.steps.memory=150"]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    for name in ("autoencoder", "copy"):
        assert sum(f"{name}-" in line and "150 steps in" in line for o in outputs for line in o.splitlines()) == 1
    assert all("claims" in output and "report.md" in output for output in outputs)
    assert "another process works on" in "".join(outputs)


def test_the_experiment_ends_with_its_report_and_a_second_one_trains_nothing(memlab: Command, tmp_path: Path) -> None:
    first = memlab("+experiment=copy_curriculum", runs=tmp_path)
    assert first.returncode == 0, text(first)
    for told in ("claims", "holds", "figure.png", "report.md", "next:", "architecture=mixer,transformer"):
        assert told in first.stdout
    folder = next(tmp_path.glob("reports/copy_curriculum/*"))
    assert folder.name.startswith("smoke")
    assert {"report.json", "results.csv", "report.md", "figure.png"} <= {path.name for path in folder.iterdir()}
    report = json.loads((folder / "report.json").read_text())
    assert {"experiment", "scale", "rows", "claims"} <= {*report} and len(report["rows"]) == 12
    assert all({"id", "text", "holds", "measured"} <= {*claim} for claim in report["claims"])

    weights = {path: path.stat().st_mtime_ns for path in tmp_path.glob("stages/*/model.safetensors")}
    second = memlab("+experiment=copy_curriculum", runs=tmp_path)
    assert second.returncode == 0
    assert "steps in" not in second.stdout and second.stdout.count(": finished") == 12
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
        "+experiment=copy_curriculum", "arm=no_memory", "architecture=mixer,transformer", "scale.lr.mixer=1e30",
        "trainer.log_every=1", runs=tmp_path,
    )  # fmt: skip
    assert result.returncode == 1
    assert "not finite" in result.stderr and "Traceback" not in text(result)
    assert result.stderr.count("not finite") <= 2
    assert len(list(tmp_path.glob("stages/*/finished.json"))) == 1
    assert list(tmp_path.glob("reports/copy_curriculum/*/report.md"))


def test_wandb_writes_an_offline_run_per_stage(memlab: Command, tmp_path: Path) -> None:
    result = memlab("logger=wandb", "encoder=frozen_autoencoder", runs=tmp_path)
    assert result.returncode == 0, text(result)
    assert len(list(tmp_path.glob("stages/*/wandb/offline-run-*/*.wandb"))) == 2
    (folder,) = tmp_path.glob("stages/copy-*")
    (table,) = folder.glob("wandb/offline-run-*/files/media/table/reconstructions*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["text", "regenerated"] and len(content["data"]) == 8
    # The id that a resumed run goes on with.
    (run,) = folder.glob("wandb/offline-run-*")
    assert run.name.endswith(json.loads((folder / "wandb.json").read_text())["id"])


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

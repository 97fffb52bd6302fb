"""Several processes that train one model (gloo on CPUs) against one that does it alone."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command, smoke, wait_for

# What could go wrong with a batch that is shared out: random masks, a frozen encoder, tables, in-batch negatives.
# InfoNCE divides cosines by a temperature of 0.02, rounding with them: in fp64, the others in fp32.
CASES = {
    "hand_over": ("encoder=frozen_autoencoder", "objective.hand_over=0.5", "trainer.accumulate=2"),
    "retrieval": ("encoder=frozen_causal_retrieval", "objective=clm", "trainer.precision=64-true"),
    "combined": ("objective=combined", "architecture=transformer"),
}
CLOCK = ("seconds", "tokens_per_second")


def curves(runs: Path) -> dict[str, list[dict[str, float]]]:
    found = {}
    for path in runs.glob("stages/*/metrics.csv"):
        with path.open() as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
        found[path.parent.name] = [{key: row[key] for key in row if key not in CLOCK} for row in rows]
    return found


def assert_alike(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> None:
    assert {*found} == {*expected}
    for stage, rows in expected.items():
        assert len(found[stage]) == len(rows), stage
        for ours, theirs in zip(found[stage], rows, strict=True):
            assert {*ours} == {*theirs}
            for key, value in theirs.items():
                exact = key in ("step", "tokens") or key.endswith("token_accuracy")
                tolerance = 0 if exact else 1e-6 if key.startswith("val") else 1e-5
                assert ours[key] == pytest.approx(value, abs=tolerance, rel=0 if exact else 1e-6), (stage, key)


@pytest.fixture(scope="module")
def alone(memlab: Command, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """By the name of a case, the curves of one process."""
    found: dict[str, Any] = {}

    def make(case: str) -> Any:
        if case not in found:
            runs = tmp_path_factory.mktemp(case)
            result = memlab(*CASES[case], "trainer.log_every=2", runs=runs)
            assert result.returncode == 0, result.stderr
            found[case] = curves(runs)
        return found[case]

    return make


@pytest.mark.parametrize(("case", "processes"), [("hand_over", 2), ("hand_over", 4), ("retrieval", 2), ("combined", 4)])
def test_processes_together_train_as_one_does(
    memlab: Command, alone: Any, tmp_path: Path, case: str, processes: int
) -> None:
    several = ("trainer=cpu_ddp", f"trainer.devices={processes}")
    result = memlab(*several, *CASES[case], "trainer.log_every=2", runs=tmp_path)
    assert result.returncode == 0, result.stderr
    assert_alike(curves(tmp_path), alone(case))
    assert result.stdout.count("run folder:") == 1, "one process talks"


def test_processes_save_on_a_signal_and_another_number_of_them_goes_on(
    memlab: Command, alone: Any, corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    slowly = (*CASES["hand_over"], "trainer.log_every=2", "trainer.checkpoint_every=1")
    command = [sys.executable, "-m", "memlab.run", *smoke(corpus, tmp_path), "trainer=cpu_ddp", *slowly]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: list(tmp_path.glob("stages/*/checkpoints/step-*")))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, output + errors
    assert "which is saved" in output and errors.count("run the same command again") == 1 and "Traceback" not in errors
    assert not list(tmp_path.glob("stages/*/.lock"))
    result = memlab(*slowly, runs=tmp_path)
    assert result.returncode == 0, result.stderr
    assert_alike(curves(tmp_path), alone("hand_over"))


def test_a_batch_that_cannot_be_shared_out_is_an_error(memlab: Command, tmp_path: Path) -> None:
    result = memlab("trainer=cpu_ddp", "trainer.devices=3", runs=tmp_path)
    assert result.returncode == 2 and "cannot be shared out to 3 devices" in result.stderr
    result = memlab("trainer=cpu_ddp", "trainer.nodes=2", runs=tmp_path)
    assert result.returncode == 2 and "take hydra/launcher=slurm" in result.stderr


def test_a_mistake_ends_all_processes_and_is_said(memlab: Command, tmp_path: Path) -> None:
    result = memlab("trainer=cpu_ddp", "optimizer.lr=1e30", "trainer.log_every=1", runs=tmp_path)
    assert result.returncode == 1
    assert "not finite" in result.stderr and "Traceback" not in result.stderr


def test_fsdp_composes_and_says_that_it_needs_a_gpu(memlab: Command, tmp_path: Path) -> None:
    """Not verified: there was no machine with GPUs to train on."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this is what machines without a GPU say")
    result = memlab("trainer=fsdp", "dry_run=true", runs=tmp_path)
    assert result.returncode == 0, result.stderr
    result = memlab("trainer=fsdp", runs=tmp_path)
    assert result.returncode != 0 and "cannot be had here" in result.stderr and "Traceback" not in result.stderr

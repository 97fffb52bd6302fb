"""Several processes that train one model (gloo on CPUs) against one that does it alone."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memlab.processes import ranks
from memlab.processes.spawn import run_ranks
from tests.conftest import Command, smoke, wait_for

# What could go wrong when ranks share a batch: random masks, a frozen encoder, tables, in-batch negatives.
CASES = {
    "hand_over": ("encoder=frozen_autoencoder", "objective.hand_over=0.5", "trainer.accumulate=2"),
    "retrieval": ("encoder=frozen_causal_retrieval", "objective=clm"),
    "combined": ("objective=combined", "architecture=transformer"),
}
# Ranks add in another order. In fp64 this shows far behind the digits compared here, on any processor.
EVERY_CASE = ("trainer.precision=64-true", "trainer.log_every=2")
CLOCK = ("seconds", "tokens_per_second")


def curves(runs: Path) -> dict[str, list[dict[str, float]]]:
    found = {}
    for path in runs.glob("stages/*/metrics.csv"):
        with path.open() as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
        found[path.parent.name] = [{key: row[key] for key in row if key not in CLOCK} for row in rows]
    return found


def assert_alike(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> None:
    """The same rows. Where two tokens are about equally likely, rounding decides which is predicted.

    So losses are compared and accuracies are not; test_sums_of_all_ranks asks whether both are summed alike.
    """
    assert {*found} == {*expected}
    for stage, rows in expected.items():
        assert len(found[stage]) == len(rows), stage
        for ours, theirs in zip(found[stage], rows, strict=True):
            assert {*ours} == {*theirs}
            for key, value in theirs.items():
                if not key.endswith("token_accuracy"):
                    tolerance = 0 if key in ("step", "tokens") else 1e-7
                    assert ours[key] == pytest.approx(value, abs=tolerance, rel=0), (stage, key)


@pytest.fixture(scope="module")
def alone(memlab: Command, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """alone(case): the curves of one process."""
    found: dict[str, Any] = {}

    def make(case: str) -> Any:
        if case not in found:
            runs = tmp_path_factory.mktemp(case)
            result = memlab(*CASES[case], *EVERY_CASE, runs=runs)
            assert result.returncode == 0, result.stderr
            found[case] = curves(runs)
        return found[case]

    return make


@pytest.mark.parametrize(
    ("case", "processes"),
    [
        ("hand_over", 2),
        pytest.param("retrieval", 2, marks=pytest.mark.slow),
        pytest.param("hand_over", 4, marks=pytest.mark.slow),
        pytest.param("combined", 4, marks=pytest.mark.slow),
    ],
)
def test_processes_together_train_as_one_does(
    memlab: Command, alone: Any, tmp_path: Path, case: str, processes: int
) -> None:
    several = ("trainer=cpu_ddp", f"trainer.devices={processes}")
    result = memlab(*several, *CASES[case], *EVERY_CASE, runs=tmp_path)
    assert result.returncode == 0, result.stderr
    assert_alike(curves(tmp_path), alone(case))
    assert result.stdout.count("run folder:") == 1, "one process talks"


@pytest.mark.slow
def test_processes_save_on_a_signal_and_another_number_of_them_goes_on(
    memlab: Command, alone: Any, corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    slowly = (*CASES["hand_over"], *EVERY_CASE, "trainer.checkpoint_every=1")
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


SUMS = """
import sys
import torch
from memlab.measures.metrics import TableMetrics
from memlab.processes import ranks
ranks.join(on_gpu=False)
first = ranks.is_first()
own = (3, 8) if first else (1, 2)  # tokens that are right, of how many: 4 of 10, and not the mean of 3/8 and 1/2
metrics = TableMetrics(300)
metrics.update(loss=torch.tensor([own[0] / 2.0]), correct=torch.tensor([own[0]]), count=torch.tensor([own[1]]))
values = metrics.compute()
agreed = ranks.agreed("of rank 0" if first else "of rank 1")
largest = ranks.largest(1 if first else 7)
if ranks.rank() == int(sys.argv[1]):
    print(values["token_accuracy"], values["cross_entropy"], agreed, largest)
"""


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.slow
def test_sums_of_all_ranks(rank: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Right tokens, losses and tokens are added up over ranks and divided once; ranks agree on the value of rank 0."""
    assert run_ranks([sys.executable, "-c", SUMS, str(rank)], 2) == 0
    assert capfd.readouterr().out == "0.4 0.2 of rank 0 7\n"


def test_an_agreement_before_ranks_join_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it ranks that see different files would part ways in silence, and wait for each other later."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(AssertionError, match=r"ranks\.join comes before"):
        ranks.agreed("mine")
    with pytest.raises(AssertionError, match=r"ranks\.join comes before"):
        ranks.largest(3)
    ranks.wait_for_first()  # a signal may end a command at any time


def test_a_single_process_is_its_own_first() -> None:
    ranks.join(on_gpu=True)  # nothing to connect, whatever trains
    assert ranks.agreed("mine") == "mine" and ranks.largest(3) == 3 and ranks.is_first()


@pytest.mark.slow
def test_fsdp_composes_and_says_that_it_needs_a_gpu(memlab: Command, tmp_path: Path) -> None:
    """The sharding itself takes GPUs, which tests hide (tests/conftest.py)."""
    result = memlab("trainer=fsdp", "dry_run=true", runs=tmp_path)
    assert result.returncode == 0, result.stderr
    result = memlab("trainer=fsdp", runs=tmp_path)
    assert result.returncode != 0 and "this machine has 0" in result.stderr and "Traceback" not in result.stderr

"""The baseline computes what memlab computes; memlab computes no more than it must; the command writes its rows."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from memlab.bench.__main__ import main
from memlab.bench.cases import ARCHITECTURES, ENCODERS, OBJECTIVES, PHASES, Case, Size, all_cases
from memlab.bench.measure import count_operations
from memlab.bench.models import make_model
from memlab.bench.sides import Baseline, Memlab
from tests.bench.operations import operations

SMALL = Size(width=16, layers=2, heads=2, length=6, chunks=4, vocab=24, batch=3)
CASES = list(all_cases([SMALL], list(ARCHITECTURES), list(OBJECTIVES), list(ENCODERS)))
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_both_sides_have_the_same_loss(case: Case) -> None:
    """On two batches, the second one after a step: the gradients are the same, too."""
    memlab, baseline = Memlab(case, make_model(case)), Baseline(case, make_model(case))
    torch.testing.assert_close(memlab.loss(0), baseline.loss(0), rtol=0, atol=1e-5)
    if not case.encoder.startswith("frozen"):  # the baseline trains its encoder's token embedding
        memlab.step(0)
        baseline.step(0)
    torch.testing.assert_close(memlab.loss(1), baseline.loss(1), rtol=0, atol=1e-5)


@every_case
def test_both_sides_have_the_same_logits(case: Case) -> None:
    """Of the scored chunks of each table, with a graph, and nothing but them."""
    memlab, baseline = Memlab(case, make_model(case)).logits(0), Baseline(case, make_model(case)).logits(0)
    shape = (SMALL.batch, SMALL.length, SMALL.vocab)
    assert all(logits.shape == shape and logits.requires_grad for table in memlab for logits in table)
    torch.testing.assert_close(memlab, baseline, rtol=0, atol=1e-5)


@every_case
def test_forward_pass_keeps_no_more_than_the_baseline(case: Case) -> None:
    """Bytes that wait for the backward pass, with the logits; parameters apart.

    Masked copies of mixing matrices are let pass (the baseline overwrites its own), and a thousandth for indices.
    """

    def kept(side: Memlab | Baseline) -> int:
        found = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            found[storage.data_ptr()] = storage  # held, so that no other can take its place
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = [part for table in side.logits(0) for part in table]
        found |= {part.untyped_storage().data_ptr(): part.untyped_storage() for part in logits}
        for parameter in side.model.parameters():  # now: the baseline's masks put others in their place
            found.pop(parameter.untyped_storage().data_ptr(), None)
        return sum(storage.nbytes() for storage in found.values())

    model = make_model(case)
    masked = sum(weight.nbytes for name, weight in model.named_parameters() if name.endswith("weight_HKLL"))
    assert kept(Memlab(case, model)) <= 1.001 * kept(Baseline(case, make_model(case))) + masked


@every_case
@pytest.mark.parametrize("phase", PHASES)
def test_nothing_is_computed_that_is_not_needed(case: Case, phase: str) -> None:
    """Distinct chunks alone are embedded, scored ones decoded, and so on: operations.py."""
    assert count_operations(case, phase) == operations(case, phase)


def test_baseline_frozen_encoder_is_frozen_blocks_behind_a_trainable_embedding() -> None:
    case = Case(SMALL, "mixer", "copy", "frozen")
    side = Baseline(case, make_model(case))
    side.gradients(0)
    assert side.model.encoder is not None
    assert side.model.encoder.embedding.weight.grad is not None
    assert all(not parameter.requires_grad for parameter in side.model.encoder.stack.parameters())


@pytest.mark.slow
def test_command_writes_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    small = ["--width", "16", "--layers", "1", "--heads", "2", "--length", "6", "--vocab", "24", "--batch", "2"]
    chosen = ["--architecture", "mixer", "--objective", "copy", "--encoder", "frozen", "--phase", "step,evaluate"]
    command = [sys.executable, "-m", "memlab.bench", *small, *chosen, "--chunks", "2,4", "--repetitions", "2"]
    done = subprocess.run(
        [*command, "--against", "baseline", "--json", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())
    assert [(row["chunks"], row["phase"]) for row in rows] == [(c, p) for c in (2, 4) for p in ("step", "evaluate")]
    for row in rows:
        assert (row["architecture"], row["objective"], row["encoder"]) == ("mixer", "copy", "frozen")
        assert row["speedup_min"] <= row["speedup_median"] <= row["speedup_max"]
        assert row["tokens_per_s"] > 0 and row["peak_bytes"] > 0 and row["matmul_share"] > 0 and row["peak_ratio"] > 0
    assert re.search(r"rows: .*rows\.json", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objective", "copi"], "'copi': choose some of clm, copy"),
        (["--chunks", "four"], "'four': whole numbers"),
        (["--chunks", "0"], "at least 1"),
    ],
)
def test_wrong_arguments_are_said(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err

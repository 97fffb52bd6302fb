"""What a pretrained decoder is worth by itself, beside what it is worth as the decoder of memories."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from memlab.config.stage import Job
from memlab.data.module import HeldOutBatches, Windows
from memlab.report.collect import collect
from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
from memlab.training.stage import prepared_of
from tests.pretrained.conftest import Jobs

MEASURED = (
    "tokenizer=pretrained", "objective=copy", "model@curriculum.stages.main.model=memory_pretrained",
    "+measure@evaluation.measures.alone=alone", "~evaluation.measures.alone.measures.benchmarks",
    "curriculum.stages.main.steps=4", "trainer.evaluate_windows=6",
)  # fmt: skip


def row_of(job: Job) -> dict[str, Any]:
    asked = [
        {"file": e.file, "prefix": e.prefix, "nested": not e.own_objective, "settings": e.settings}
        for e in job.evaluations
    ]
    choices = {"architecture": "mixer", "arm": "x", "seed": 0}
    stages = [job.folder.path]
    (row,) = collect(
        [{"choices": choices, "folder": stages[0], "stages": stages, "encoder_stages": 0, "evaluations": asked}]
    )
    return row


def test_the_decoder_alone_is_the_language_model_itself(jobs: Jobs, llama: Path) -> None:
    """Frozen, it predicts what the published model predicts, whatever its memories are."""
    import transformers

    (job,) = jobs(llama, *MEASURED, "curriculum.stages.main.model.decoder.train=frozen")
    run_chain([job], Workload())
    row = row_of(job)
    held_out = Windows.of(prepared_of(job), "val", 32)  # four chunks of eight tokens
    chosen = torch.cat([batch for batch in HeldOutBatches(held_out, 16, 6)])
    published = transformers.AutoModelForCausalLM.from_pretrained(llama).eval()
    with torch.no_grad():
        losses = F.cross_entropy(published(chosen).logits[:, :-1].transpose(1, 2), chosen[:, 1:], reduction="none")
    scored = torch.arange(1, 32) % 8 != 0  # a chunk's first token is not scored
    nats = losses[:, scored].sum(1)
    assert row["windows"]["alone"]["loss"] == pytest.approx(nats.tolist(), rel=1e-5)
    assert row["windows"]["alone"]["count"] == [28] * 6
    assert row["alone/cross_entropy"] == pytest.approx(nats.sum().item() / (6 * 28), rel=1e-5)


def test_training_changes_it_and_its_windows_have_a_place_of_their_own(jobs: Jobs, llama: Path) -> None:
    (frozen,) = jobs(llama, *MEASURED, "curriculum.stages.main.model.decoder.train=frozen")
    (full,) = jobs(llama, *MEASURED, "curriculum.stages.main.lr=0.01")
    run_chain([frozen], Workload())
    run_chain([full], Workload())
    before, after = row_of(frozen), row_of(full)
    assert before["alone/cross_entropy"] != after["alone/cross_entropy"]
    assert set(after["windows"]) == {"", "alone"}
    assert after["windows"]["alone"]["data"] == after["windows"][""]["data"] == full.stage.data["hash"]
    assert after["stages"][-1]["peak_memory"] > 2**20


def test_another_decoder_gives_nothing(jobs: Jobs, llama: Path) -> None:
    (job,) = jobs(llama, *MEASURED[:2], *MEASURED[3:])
    run_chain([job], Workload())
    assert not [name for name in row_of(job) if name.startswith("alone")]

"""A run folder is all that a finished model needs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from memlab.data import load_tokenizer
from memlab.errors import UserError
from memlab.training.build import build_stage, load_weights
from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
from memlab.training.load import load_run
from tests.conftest import write_corpus
from tests.training.chains import SHORT

TEXT = "def function_7(self, value=7):\n    return self.items[0] + value * 7  # é\n" * 2
LOADS = """
import json, sys
for name in ("hydra", "omegaconf", "lightning"):
    sys.modules[name] = None  # an import of it raises ImportError
import torch
from memlab.training.load import load_run
model, codec, stage = load_run(sys.argv[1])
ids = codec.encode(sys.argv[2])
assert codec.decode(ids) == sys.argv[2]
layout = stage.layout
tokens = torch.tensor(ids[:32]).view(1, layout["chunks"], layout["length"])
with torch.no_grad():
    logits = model(tokens)
print(json.dumps({"ids": ids, "sum": logits.double().abs().sum().item(), "bytes": int(codec.token_bytes[ids].sum())}))
"""


@pytest.mark.parametrize("architecture", ["mixer", "transformer"])
def test_a_copied_folder_needs_neither_its_corpus_nor_hydra(
    chain: Any, tmp_path: Path, environment: dict[str, str], architecture: str
) -> None:
    corpus, runs = tmp_path / "corpus", tmp_path / "runs"
    write_corpus(corpus)
    chosen = (f"data.path={corpus}", "objective=clm", f"architecture={architecture}", *SHORT)
    (job,) = chain(*chosen, runs=runs)
    run_chain([job], Workload())
    model, _ = build_stage(job.stage)
    load_weights(model, job.folder.weights)
    ids = load_tokenizer(job.folder.path).encode(TEXT)
    with torch.no_grad():
        expected = model.eval()(torch.tensor(ids[:32]).view(1, 4, 8))
    elsewhere = tmp_path / "elsewhere" / "my best run"
    elsewhere.parent.mkdir()
    shutil.copytree(job.folder.path, elsewhere)
    shutil.rmtree(corpus)
    shutil.rmtree(runs)
    result = subprocess.run(
        [sys.executable, "-c", LOADS, str(elsewhere), TEXT],
        env=environment, cwd=os.sep, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["ids"] == ids and found["bytes"] == len(TEXT.encode())
    assert found["sum"] == pytest.approx(expected.double().abs().sum().item(), rel=1e-6)


def test_every_stage_of_a_chain_can_be_loaded(chain: Any) -> None:
    jobs = chain("encoder=frozen_causal_retrieval", "objective=copy", *SHORT, "scale.stages.causal.steps=2")
    run_chain(jobs, Workload())
    for job in jobs:
        model, codec, stage = load_run(job.folder.path)
        assert stage == job.stage and codec.vocab == model.vocab and not model.training


@pytest.mark.parametrize(
    "damage", ["none of it", "config.yaml", "model.safetensors", "tokenizer.json", "finished.json"]
)
def test_a_folder_that_is_not_whole_is_said(chain: Any, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "nothing"
    if damage != "none of it":
        (job,) = chain(*SHORT)
        run_chain([job], Workload())
        folder = job.folder.path
        (folder / damage).unlink()
    with pytest.raises(UserError) as error:
        load_run(folder)
    assert str(folder) in str(error.value)


def test_a_damaged_config_is_said(chain: Any) -> None:
    (job,) = chain(*SHORT)
    run_chain([job], Workload())
    for content in ("", "[]", "stage: 3", "stage: {name: main}", "stage: {"):
        (job.folder.path / "config.yaml").write_text(content)
        with pytest.raises(UserError, match="train that stage again"):
            load_run(job.folder.path)

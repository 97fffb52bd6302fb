"""What a chain of stages leaves behind, and what of it is used again."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from memlab.errors import UserError
from memlab.training import chain as chain_module
from memlab.training.build import build_stage
from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
from tests.training.chains import CURRICULUM, rows


def test_a_run_folder_is_complete(chain: Any) -> None:
    jobs = chain(*CURRICULUM)
    run_chain(jobs, Workload())
    for job in jobs:
        names = {path.name for path in job.folder.path.iterdir()}
        assert names >= {
            "config.yaml", "tokenizer.json", "token_bytes.npy", "special_tokens.json", "metrics.jsonl", "metrics.csv",
            "model.safetensors", "evaluation-score.json", "evaluation-greedy.json", "evaluation-capacity.json",
            "samples.jsonl", "provenance.json", "finished.json",
        }  # fmt: skip
        assert not job.folder.checkpoint_files()
        provenance = job.folder.read_provenance()
        assert provenance["steps"] == job.stage.training["steps"] and provenance["seed"] == 0
        assert {"commit", "dirty", "versions", "hardware", "threads", "seconds", "tokens", "flops", "peak_memory"} <= {
            *provenance
        }
        score = job.folder.read_evaluation("evaluation-score.json")
        ((table, windows),) = score["windows"].items()
        assert len(windows["loss"]) == 32
        total = {key: sum(windows[key]) for key in ("loss", "correct", "count")}
        assert score["metrics"][table]["token_accuracy"] == pytest.approx(total["correct"] / total["count"])
        assert score["metrics"][table]["cross_entropy"] == pytest.approx(total["loss"] / total["count"])
        samples = [json.loads(line) for line in job.folder.samples.read_text().splitlines()]
        assert len(samples) == 8 and all({*sample} == {"text", "regenerated", "parts"} for sample in samples)
        assert [row["step"] for row in rows(job) if "val/token_accuracy" in row][-1] == job.stage.training["steps"]
    # Copying: 2 of 4 chunks are scored, all but their first token; 8 tokens a chunk.
    assert set(jobs[-1].folder.read_evaluation("evaluation-score.json")["windows"]["copy"]["count"]) == {14}


def test_frozen_weights_do_not_change(chain: Any) -> None:
    jobs = chain(*CURRICULUM)
    run_chain(jobs, Workload())
    autoencoder, blank, copy = (load_file(job.folder.weights) for job in jobs)
    encoder = [name for name in copy if name.startswith("encoder.")]
    assert encoder
    for name in encoder:
        assert torch.equal(autoencoder[name], blank[name]) and torch.equal(blank[name], copy[name]), name
    for name in set(copy) - set(encoder):
        assert not torch.equal(blank[name], copy[name]), name


def test_blocks_stay_frozen_behind_a_trained_embedding(chain: Any) -> None:
    jobs = chain("encoder=frozen_autoencoder", "objective=copy", "encoder.freeze=blocks")
    run_chain(jobs, Workload())
    before, after = (load_file(job.folder.weights) for job in jobs)
    for name in [name for name in after if name.startswith("encoder.")]:
        assert torch.equal(before[name], after[name]) == (name != "encoder.embedding.weight"), name
    drawn = build_stage(jobs[-1].stage)[0].state_dict()["encoder.embedding.weight"]
    assert not torch.equal(drawn, after["encoder.embedding.weight"])


def test_a_trainable_encoder_changes(chain: Any) -> None:
    (job,) = chain("encoder=trainable")
    run_chain([job], Workload())
    start, trained = build_stage(job.stage)[0].state_dict(), load_file(job.folder.weights)
    assert {*start} == {*trained}
    assert not [name for name in start if torch.equal(start[name], trained[name])]


def test_a_finished_chain_trains_nothing(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run_chain(chain(*CURRICULUM), Workload())

    def forbidden(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(chain_module, "_finish", forbidden)
    run_chain(chain(*CURRICULUM), Workload())


def test_another_evaluation_is_made_without_training(chain: Any) -> None:
    (job,) = chain()
    run_chain([job], Workload())
    weights = job.folder.weights.stat().st_mtime_ns
    (again,) = chain("trainer.evaluate_windows=5")
    assert again.folder.path == job.folder.path and not again.done
    run_chain([again], Workload())
    assert len(again.folder.read_evaluation("evaluation-score.json")["windows"]["copy"]["loss"]) == 5
    assert job.folder.weights.stat().st_mtime_ns == weights


def test_another_objective_is_measured_beside_the_own_one(chain: Any) -> None:
    """Two commands that share a stage do not overwrite each other's evaluation."""
    (job,) = chain("objective=clm")
    run_chain([job], Workload())
    own = job.folder.read_evaluation("evaluation-score.json")
    (both,) = chain("objective=clm", "objective@evaluation.objective=combined")
    assert both.folder.path == job.folder.path and not both.done
    run_chain([both], Workload())
    assert both.done and job.done and job.folder.read_evaluation("evaluation-score.json") == own
    (other,) = [
        both.folder.read_evaluation(e.file) for e in both.evaluations if e.name == "score" and not e.own_objective
    ]
    assert {*other["metrics"]} == {*other["windows"]} == {"clm", "copy"}
    # Windows of the same size, so the next-token half is the same measurement.
    assert other["metrics"]["clm"]["cross_entropy"] == pytest.approx(own["metrics"]["clm"]["cross_entropy"])
    (greedy,) = [
        both.folder.read_evaluation(e.file) for e in both.evaluations if e.name == "greedy" and not e.own_objective
    ]
    assert [table for table, metrics in greedy["metrics"].items() if metrics] == ["copy"]


def test_another_text_is_measured_with_the_tokens_of_the_first(chain: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for i in range(30):
        (other / f"{i}.txt").write_text(f"Text number {i} is of another kind, with other words in it. " * 20)
    (job,) = chain("objective=clm", "data@evaluation.data=text_files", f"evaluation.data.path={other}")
    run_chain([job], Workload())
    own, foreign = (
        job.folder.read_evaluation(e.file) for own in (True, False) for e in job.evaluations
        if e.name == "score" and e.own_text == own
    )  # fmt: skip
    assert {e.prefix for e in job.evaluations} == {"", "text_files/"}
    assert foreign["settings"]["data"] != own["settings"]["data"]
    assert foreign["metrics"]["clm"]["cross_entropy"] != own["metrics"]["clm"]["cross_entropy"]
    samples = job.folder.read_samples()
    assert samples and not any("another kind" in sample["text"] for sample in samples), "of the stage's own text"


def test_the_encoder_of_a_finished_run_is_taken(chain: Any) -> None:
    (autoencoder, *_) = chain("encoder=frozen_autoencoder")
    run_chain([autoencoder], Workload())
    taken = ("encoder=from_run", f"encoder.run={autoencoder.folder.path}")
    (job,) = chain(*taken)
    run_chain([job], Workload())
    theirs, ours = load_file(autoencoder.folder.weights), load_file(job.folder.weights)
    encoder = [name for name in ours if name.startswith("encoder.")]
    assert encoder and all(torch.equal(theirs[name], ours[name]) for name in encoder)
    assert job.stage.place == 1, "it does not repeat the order of the windows that the encoder was trained on"
    with pytest.raises(UserError, match="reads chunks of 8 tokens, not 16"):
        chain(*taken, "scale.chunk_length=16")
    with pytest.raises(UserError, match="another text or tokenizer"):
        chain(*taken, "tokenizer.vocab=290")


def test_an_encoder_of_another_width_is_joined_by_a_projection(chain: Any) -> None:
    jobs = chain("encoder=frozen_autoencoder", "architecture.encoder.stack.width=64")
    run_chain(jobs, Workload())
    assert load_file(jobs[-1].folder.weights)["projection.weight"].shape == (32, 64)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_stacks_change_nothing_but_the_rounding(chain: Any, tmp_path: Path) -> None:
    chosen = ("encoder=none", "objective=clm", "curriculum.stages.main.steps=3")
    expected, found = chain(*chosen), chain(*chosen, "trainer.compile=true", runs=tmp_path / "compiled")
    for jobs in (expected, found):
        run_chain(jobs, Workload())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    for name, weight in load_file(expected[-1].folder.weights).items():
        torch.testing.assert_close(load_file(found[-1].folder.weights)[name], weight, rtol=1e-3, atol=1e-4)

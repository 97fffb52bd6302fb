"""What a chain of stages leaves behind, and what of it is used again."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from memlab.training import pipeline
from memlab.training.estimate import Workload
from memlab.training.pipeline import run_chain
from tests.training.chains import CURRICULUM, rows


def test_a_run_folder_is_complete(chain: Any) -> None:
    jobs = chain(*CURRICULUM)
    run_chain(jobs, Workload())
    for job in jobs:
        names = {path.name for path in job.folder.path.iterdir()}
        assert names >= {
            "config.yaml", "metrics.jsonl", "metrics.csv", "model.safetensors", "evaluation.json", "samples.jsonl",
            "provenance.json", "finished.json",
        }  # fmt: skip
        provenance = job.folder.read_provenance()
        assert provenance["steps"] == job.stage.training["steps"] and provenance["seed"] == 0
        assert {"commit", "versions", "hardware", "threads", "seconds", "tokens", "flops", "peak_memory"} <= {
            *provenance
        }
        evaluation = job.folder.read_evaluation()
        assert len(evaluation["windows"]["loss"]) == 32
        total = {key: sum(evaluation["windows"][key]) for key in ("loss", "correct", "count")}
        assert evaluation["metrics"]["token_accuracy"] == pytest.approx(total["correct"] / total["count"])
        assert evaluation["metrics"]["cross_entropy"] == pytest.approx(total["loss"] / total["count"])
        samples = [json.loads(line) for line in job.folder.samples.read_text().splitlines()]
        assert len(samples) == 8 and all({*sample} == {"text", "regenerated"} for sample in samples)
        assert [row["step"] for row in rows(job) if "val/token_accuracy" in row][-1] == job.stage.training["steps"]
    # Copying: 2 of 4 chunks are scored, all but their first token; 8 tokens a chunk.
    assert set(jobs[-1].folder.read_evaluation()["windows"]["count"]) == {14}


def test_frozen_weights_do_not_change(chain: Any) -> None:
    jobs = chain(*CURRICULUM)
    run_chain(jobs, Workload())
    autoencoder, blank, copy = (load_file(job.folder.weights) for job in jobs)
    encoder = [name for name in copy if name.startswith("encoder.")]
    assert encoder
    for name in encoder:
        assert torch.equal(autoencoder[name], blank[name]) and torch.equal(blank[name], copy[name]), name
    assert not torch.equal(blank["head.weight"], copy["head.weight"])


def test_a_trainable_encoder_changes(chain: Any) -> None:
    (job,) = chain("encoder=trainable")
    run_chain([job], Workload())
    torch.manual_seed(0)
    start, _ = pipeline.build_stage(job.stage)
    trained = load_file(job.folder.weights)
    assert not torch.equal(start.state_dict()["encoder.embedding.weight"], trained["encoder.embedding.weight"])


def test_a_finished_chain_trains_nothing(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run_chain(chain(*CURRICULUM), Workload())

    def forbidden(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(pipeline, "_finish_stage", forbidden)
    run_chain(chain(*CURRICULUM), Workload())


def test_another_evaluation_is_made_without_training(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = chain()
    run_chain([job], Workload())
    weights = job.folder.weights.stat().st_mtime_ns
    (again,) = chain("trainer.evaluate_windows=5")
    run_chain([again], Workload())
    assert len(again.folder.read_evaluation()["windows"]["loss"]) == 5
    assert job.folder.weights.stat().st_mtime_ns == weights


def test_another_objective_is_measured_beside_the_own_one(chain: Any) -> None:
    """Two commands that share a stage do not overwrite each other's evaluation."""
    (job,) = chain("objective=clm")
    run_chain([job], Workload())
    own = job.folder.read_evaluation()
    (both,) = chain("objective=clm", "objective@evaluation.objective=combined")
    assert both.folder.path == job.folder.path and not both.done
    run_chain([both], Workload())
    assert both.done and job.done and job.folder.read_evaluation() == own
    other = both.folder.read_evaluation(both.evaluations[1].file)
    assert set(other["metrics"]) == {"clm", "copy"}
    # Windows of the same size, so the next-token half is the same measurement.
    assert other["metrics"]["clm"]["cross_entropy"] == pytest.approx(own["metrics"]["cross_entropy"])
    assert 0 <= other["metrics"]["copy"]["free_running_token_accuracy"] <= 1


def test_another_text_is_measured_with_the_tokens_of_the_first(chain: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for i in range(30):
        (other / f"{i}.txt").write_text(f"Text number {i} is of another kind, with other words in it. " * 20)
    text = ("data@evaluation.data=text_files", f"evaluation.data.path={other}")
    (job,) = chain("objective=clm", *text)
    run_chain([job], Workload())
    own, foreign = (job.folder.read_evaluation(evaluation.file) for evaluation in job.evaluations)
    assert job.evaluations[1].prefix == "text_files/"
    assert foreign["metrics"]["cross_entropy"] != own["metrics"]["cross_entropy"]


def test_the_encoder_of_a_finished_run_is_taken(chain: Any) -> None:
    (autoencoder, *_) = chain("arm=direct_copy")
    run_chain([autoencoder], Workload())
    (job,) = chain("encoder=from_run", f"encoder.run={autoencoder.folder.path}")
    run_chain([job], Workload())
    theirs, ours = load_file(autoencoder.folder.weights), load_file(job.folder.weights)
    assert all(torch.equal(theirs[name], ours[name]) for name in ours if name.startswith("encoder."))
    with pytest.raises(ValueError, match=r"has width=32 and architecture.encoder has width=64: set .*width=32"):
        chain("encoder=from_run", f"encoder.run={autoencoder.folder.path}", "architecture.encoder.width=64")
    with pytest.raises(ValueError, match="chunk_length=8, not 16"):
        chain(
            "encoder=from_run", f"encoder.run={autoencoder.folder.path}", "scale.chunk_length=16", "scale.sequence=64"
        )
    with pytest.raises(ValueError, match="another text or tokenizer"):
        chain("encoder=from_run", f"encoder.run={autoencoder.folder.path}", "tokenizer.vocab=290")


def test_an_encoder_of_another_width_is_joined_by_a_projection(chain: Any) -> None:
    jobs = chain("arm=direct_copy", "architecture.encoder.width=64")
    run_chain(jobs, Workload())
    assert load_file(jobs[-1].folder.weights)["projection.weight"].shape == (32, 64)


def test_cached_embeddings_change_nothing_but_the_rounding(chain: Any, tmp_path: Path) -> None:
    frozen = ("encoder=frozen_autoencoder", "objective=blank_copy")
    plain_jobs = chain(*frozen)
    run_chain(plain_jobs, Workload())
    jobs = chain(*frozen, "trainer.cache_embeddings=true", runs=tmp_path / "cached")
    assert [job.folder.fingerprint for job in jobs] == [job.folder.fingerprint for job in plain_jobs]
    run_chain(jobs, Workload())
    expected, found = (load_file(some[-1].folder.weights) for some in (plain_jobs, jobs))
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-3, atol=1e-4)
    assert len(list((tmp_path / "cached" / "embeddings").glob("*.values"))) == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_stacks_change_nothing_but_the_rounding(chain: Any, tmp_path: Path) -> None:
    chosen = ("encoder=none", "objective=clm", "curriculum.stages.main.steps=3")
    expected, found = chain(*chosen), chain(*chosen, "trainer.compile=true", runs=tmp_path / "compiled")
    for jobs in (expected, found):
        run_chain(jobs, Workload())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    for name, weight in load_file(expected[-1].folder.weights).items():
        torch.testing.assert_close(load_file(found[-1].folder.weights)[name], weight, rtol=1e-3, atol=1e-4)

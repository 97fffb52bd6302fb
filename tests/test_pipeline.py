"""Chains of stages in this process, at a size below smoke."""

import json
import math
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from safetensors.torch import load_file

from memlab import pipeline
from memlab.claims import Claim, claimed
from memlab.compose import compose_sweep
from memlab.errors import explain
from memlab.estimate import Workload
from memlab.lit.guard import DivergedError
from memlab.pipeline import BusyError, run_chain
from memlab.plan import Job, plan
from memlab.signals import Stopped
from tests.conftest import smoke

CURRICULUM = ("encoder=frozen_autoencoder", "curriculum=blank_then_copy", "trainer.log_every=2")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def chain(corpus: Path, tmp_path: Path) -> Any:
    """chain(*overrides, runs=...): the jobs of one point."""

    def make(*overrides: str, runs: Path = tmp_path) -> list[Job]:
        return plan(compose_sweep([*smoke(corpus, runs), *overrides]).configs[0])

    return make


def rows(job: Job) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock says."""
    clock = ("seconds", "tokens_per_second")
    return [{key: value for key, value in row.items() if key not in clock} for row in job.folder.read_metrics()]


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


class Killed(BaseException):
    """Not an Exception: nothing on the way may handle it, as nothing handles kill -9."""


def break_off(monkeypatch: pytest.MonkeyPatch, at_batch: int) -> None:
    def step(self: Any, *arguments: Any) -> Any:
        if self.batch_number == at_batch:
            raise Killed
        return original(self, *arguments)

    original = pipeline.StageModule.training_step
    monkeypatch.setattr(pipeline.StageModule, "training_step", step)


RESUME = ("trainer.accumulate=2", "trainer.log_every=3", "trainer.validate_every=5", "trainer.checkpoint_every=2")


# 24: validation and checkpoint fall on the same step; 31: in the middle of an accumulated step.
@pytest.mark.parametrize("at_batch", [3, 24, 31, 39])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(chain: Any, tmp_path: Path, at_batch: int) -> None:
    (unbroken,) = chain("objective.hand_over=0.5", *RESUME, runs=tmp_path / "unbroken")
    run_chain([unbroken], Workload())
    (broken,) = chain("objective.hand_over=0.5", *RESUME, runs=tmp_path / "broken")
    with pytest.MonkeyPatch.context() as patch:
        break_off(patch, at_batch)
        with pytest.raises(Killed):
            run_chain([broken], Workload())
    assert not broken.folder.finished
    run_chain([broken], Workload())
    assert broken.folder.weights.read_bytes() == unbroken.folder.weights.read_bytes()
    assert rows(broken) == rows(unbroken)
    assert broken.folder.read_evaluation() == unbroken.folder.read_evaluation()


def test_a_corrupt_checkpoint_falls_back_to_the_one_before(
    chain: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (unbroken,) = chain(*RESUME, runs=tmp_path / "unbroken")
    run_chain([unbroken], Workload())
    (broken,) = chain(*RESUME, runs=tmp_path / "broken")
    with pytest.MonkeyPatch.context() as patch:
        break_off(patch, 31)
        with pytest.raises(Killed):
            run_chain([broken], Workload())
    newest, older = broken.folder.checkpoint_files()
    assert (newest.stem, older.stem) == ("step-000000014", "step-000000012")
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    run_chain([broken], Workload())
    assert "falling back to the one before" in capsys.readouterr().out
    assert broken.folder.weights.read_bytes() == unbroken.folder.weights.read_bytes()


def test_an_evaluation_broken_off_does_not_cost_the_training(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = chain()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_evaluate", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run_chain([job], Workload())
    assert job.folder.weights.is_file() and not job.folder.finished
    monkeypatch.setattr(lightning.Trainer, "fit", lambda *_, **__: pytest.fail("trained again"))
    run_chain([job], Workload())
    assert job.folder.finished


def test_a_failed_stage_leaves_the_finished_ones_usable(chain: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        break_off(patch, 15)  # beyond the autoencoder's steps
        jobs = chain(*CURRICULUM, "architecture.autoencoder_steps=10")
        with pytest.raises(Killed):
            run_chain(jobs, Workload())
    assert [job.folder.finished for job in jobs] == [True, False, False]
    run_chain(jobs, Workload())
    assert all(job.folder.finished for job in jobs)


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


def test_a_loss_that_is_not_finite_stops_the_stage(chain: Any) -> None:
    (job,) = chain("optimizer.lr=1e30", "trainer.log_every=1", "trainer.checkpoint_every=1")
    with pytest.raises(
        DivergedError, match=r"the loss is not finite at step 2 \(batch 1 of seed 0, windows \d+, "
    ) as error:
        run_chain([job], Workload())
    assert explain(error.value) is not None
    assert not job.folder.finished


def spoil(monkeypatch: pytest.MonkeyPatch, at_batch: int, times: int, factor: float = math.nan) -> None:
    """The loss of a batch is multiplied, the first `times` times that it is computed."""

    def step(self: Any, *arguments: Any) -> Any:
        number, outputs = self.batch_number, original(self, *arguments)
        if number == at_batch and left:
            left.pop()
            outputs["loss"] = outputs["loss"] * factor
        return outputs

    left = [None] * times
    original = pipeline.StageModule.training_step
    monkeypatch.setattr(pipeline.StageModule, "training_step", step)


def test_no_checkpoint_is_saved_of_what_diverged(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is seen ahead of the next checkpoint, even where rows are written less often."""
    (job,) = chain("trainer.log_every=20", "trainer.checkpoint_every=4")
    spoil(monkeypatch, at_batch=9, times=1)
    with pytest.raises(DivergedError, match=r"at step 10 .*last good checkpoint is \S*step-000000008\.ckpt"):
        run_chain([job], Workload())
    assert [path.stem for path in job.folder.checkpoint_files()] == ["step-000000008", "step-000000004"]


def test_a_loss_above_the_limit_is_named(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = chain("trainer.max_loss=50")
    spoil(monkeypatch, at_batch=3, times=1, factor=1e4)
    with pytest.raises(DivergedError, match=r"nats, above trainer.max_loss=50, at step 4"):
        run_chain([job], Workload())


def test_a_restart_goes_back_to_the_last_good_checkpoint(chain: Any, tmp_path: Path) -> None:
    (undisturbed,) = chain(runs=tmp_path / "undisturbed")
    run_chain([undisturbed], Workload())
    options = ("trainer.restarts=1", "trainer.checkpoint_every=4")
    (job,) = chain(*options, runs=tmp_path / "disturbed")
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, at_batch=9, times=1)
        run_chain([job], Workload())
    assert job.folder.weights.read_bytes() == undisturbed.folder.weights.read_bytes()
    assert rows(job) == rows(undisturbed)
    (again,) = chain(*options, runs=tmp_path / "for ever")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DivergedError):
        spoil(patch, at_batch=9, times=2)
        run_chain([again], Workload())


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_saves_at_the_end_of_the_step(chain: Any, tmp_path: Path, signum: int) -> None:
    (unbroken,) = chain("trainer.accumulate=2", "trainer.log_every=3", runs=tmp_path / "unbroken")
    run_chain([unbroken], Workload())
    (job,) = chain("trainer.accumulate=2", "trainer.log_every=3", runs=tmp_path / "stopped")
    before = signal.getsignal(signum)
    with pytest.MonkeyPatch.context() as patch:
        send(patch, signum, at_batch=14)  # the first of two that make a step
        with pytest.raises(Stopped) as stopped:
            run_chain([job], Workload())
    assert stopped.value.signum == signum and signal.getsignal(signum) == before
    assert stopped.value.asks_for_requeue == (signum in (signal.SIGUSR1, signal.SIGUSR2))
    assert job.folder.checkpoint_files()[0].stem == "step-000000008"
    assert not job.folder.claim.exists()
    run_chain([job], Workload())
    assert job.folder.weights.read_bytes() == unbroken.folder.weights.read_bytes()
    assert rows(job) == rows(unbroken)


def send(monkeypatch: pytest.MonkeyPatch, signum: int, at_batch: int) -> None:
    def step(self: Any, *arguments: Any) -> Any:
        if self.batch_number == at_batch:
            os.kill(os.getpid(), signum)
        return original(self, *arguments)

    original = pipeline.StageModule.training_step
    monkeypatch.setattr(pipeline.StageModule, "training_step", step)


def test_a_signal_in_an_evaluation_ends_it_at_once(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = chain()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "evaluate", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped):
            run_chain([job], Workload())
    assert job.folder.weights.is_file() and not job.folder.finished
    monkeypatch.setattr(lightning.Trainer, "fit", lambda *_, **__: pytest.fail("trained again"))
    run_chain([job], Workload())


def test_a_claim_that_was_taken_over_ends_the_training_and_is_waited_for(
    chain: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when this process was cut off from a network file system, and another went on in its place."""
    (undisturbed,) = chain(runs=tmp_path / "undisturbed")
    run_chain([undisturbed], Workload())
    (job,) = chain(runs=tmp_path / "taken")

    @contextmanager
    def remembered(*arguments: Any, **options: Any) -> Iterator[Claim | None]:
        with claimed(*arguments, **options) as claim:
            held.append(claim)
            yield claim

    def step(self: Any, *arguments: Any) -> Any:
        if self.batch_number == 9 and len(held) == 1:
            held[0].lost = True
            job.folder.claim.unlink()
        return original(self, *arguments)

    held: list[Any] = []
    original = pipeline.StageModule.training_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "claimed", remembered)
        patch.setattr(pipeline.StageModule, "training_step", step)
        run_chain([job], Workload())
    assert len(held) == 2
    assert "another process has taken over" in capsys.readouterr().out
    assert job.folder.weights.read_bytes() == undisturbed.folder.weights.read_bytes()
    assert rows(job) == rows(undisturbed)


def test_a_stage_of_another_process_is_not_waited_for_unless_asked(chain: Any) -> None:
    (job,) = chain()
    with claimed(job.folder.claim, ""), pytest.raises(BusyError):
        run_chain([job], Workload(), wait=False)
    run_chain([job], Workload(), wait=False)
    assert job.done


def test_out_of_memory_says_what_to_lower(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(*_: Any) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(pipeline.StageModule, "training_step", allocate)
    with pytest.raises(RuntimeError) as error:
        run_chain(chain(), Workload())
    message = explain(error.value) or ""
    assert all(key in message for key in ("trainer.batch_size", "trainer.accumulate", "scale.width"))


def test_an_unforeseen_error_keeps_its_traceback(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ValueError that a library raises is a bug of ours, not a mistake of the user."""
    monkeypatch.setattr(pipeline.StageModule, "training_step", lambda *_: json.loads("{"))
    with pytest.raises(ValueError) as error:
        run_chain(chain(), Workload())
    assert explain(error.value) is None


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

"""Stages on pretrained models, through the real Trainer: what changes, what is saved, what resumes and loads."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import memlab
from memlab.errors import UserError
from memlab.pretrained import PretrainedEncoder
from memlab.storage.pretrained import PLACES
from memlab.training.build import build_stage
from memlab.training.chain import run_chain
from memlab.training.checkpoint import SealedCheckpointIO
from memlab.training.estimate import Workload
from memlab.training.module import StageModule
from tests.pretrained.conftest import Jobs
from tests.pretrained.models import change
from tests.training.chains import Killed, before_batch, kill, rows

DECODER = ("tokenizer=pretrained", "objective=copy", "model@curriculum.stages.main.model=memory_pretrained")
SHORT = ("scale.stages.memory.steps=6", "scale.stages.probe.steps=6", "scale.stages.autoencoder.steps=4")
PROBE = ("encoder=pretrained", "curriculum=probe")
LORA = (*DECODER, "curriculum.stages.main.model.decoder.train=lora")
FROZEN = (*DECODER, "curriculum.stages.main.model.decoder.train=frozen")
BOTH = (*LORA, "encoder=pretrained")  # encoder and decoder are one pretrained model


def digest(module: nn.Module) -> str:
    """Return a hash of all weights but those of updates."""
    state = {name: tensor for name, tensor in module.state_dict().items() if "lora_" not in name}
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for _, tensor in sorted(state.items()))).hexdigest()


@pytest.mark.parametrize("how", [PROBE, LORA, FROZEN, BOTH], ids=["probe", "lora", "frozen", "both"])
def test_frozen_weights_change_by_no_bit_and_are_saved_nowhere(
    how: tuple[str, ...], jobs: Jobs, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def step(module: StageModule, *arguments: Any) -> Any:
        parts = [part for part in (module.model.encoder, module.model.decoder) if hasattr(part, "body")]
        seen.setdefault("before", [digest(part.body) for part in parts])
        result = original(module, *arguments)
        seen["after"] = [digest(part.body) for part in parts]
        optimizer = module.trainer.optimizers[0]
        seen["trained"] = {id(p) for group in optimizer.param_groups for p in group["params"]}
        seen["frozen"] = {id(p) for part in parts for n, p in part.body.named_parameters() if "lora_" not in n}
        files = sorted((job.folder.checkpoints).glob("*.ckpt"))
        if files:
            seen["checkpoint"] = SealedCheckpointIO().load_checkpoint(files[-1])
        return result

    original = StageModule.training_step
    monkeypatch.setattr(StageModule, "training_step", step)
    (job,) = jobs(llama, *how, *SHORT, "trainer.checkpoint_every=2")
    run_chain([job], Workload())
    assert seen["before"] == seen["after"] and len(seen["before"]) == (2 if how == BOTH else 1)
    model = build_stage(job.stage)[0]
    parts = [part for part in (model.encoder, model.decoder) if hasattr(part, "body")]
    assert [digest(part.body) for part in parts] == seen["before"], "as the files have them"
    assert not seen["trained"] & seen["frozen"]
    own = model.saved_names()
    assert set(load_file(job.folder.weights)) == own and own
    assert set(seen["checkpoint"]["state_dict"]) == {f"model.{name}" for name in own}
    assert not [name for name in own if ".body." in name and "lora_" not in name]


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_another_tokenizer_than_the_models_own_is_refused(part: str, jobs: Jobs, llama: Path) -> None:
    how = PROBE if part == "encoder" else DECODER[1:]
    with pytest.raises(UserError, match=f"model.{part}: .*take tokenizer=pretrained"):
        jobs(llama, *how, "tokenizer=bpe")


def test_random_vectors_may_have_another_tokenizer(jobs: Jobs, llama: Path) -> None:
    (job,) = jobs(llama, *PROBE, "tokenizer=bpe", "tokenizer.vocab=300", "encoder.module.untrained=0")
    assert job.stage.data["vocab"] == 300


@pytest.mark.parametrize("how", [PROBE, LORA, DECODER], ids=["probe", "lora", "full"])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(
    how: tuple[str, ...], jobs: Jobs, llama: Path, tmp_path: Path
) -> None:
    given = (*how, *SHORT, "trainer.checkpoint_every=2", "trainer.log_every=2", "trainer.validate_every=3")
    (unbroken,) = jobs(llama, *given, runs=tmp_path / "unbroken")
    run_chain([unbroken], Workload())
    (broken,) = jobs(llama, *given, runs=tmp_path / "broken")
    with pytest.MonkeyPatch.context() as patch:
        before_batch(patch, 5, kill)
        with pytest.raises(Killed):
            run_chain([broken], Workload())
    assert not broken.folder.finished
    run_chain([broken], Workload())
    assert broken.folder.weights.read_bytes() == unbroken.folder.weights.read_bytes()
    assert rows(broken) == rows(unbroken)


@pytest.mark.parametrize("how", [LORA, FROZEN, DECODER], ids=["lora", "frozen", "full"])
def test_a_run_folder_loads_where_the_base_model_is_at_hand(
    how: tuple[str, ...], jobs: Jobs, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own config; behind `save_pretrained`, by a place to look at."""
    (job,) = jobs(llama, *how, *SHORT)
    run_chain([job], Workload())
    monkeypatch.delenv(PLACES)
    model = memlab.load(job.folder.path)
    built, _ = build_stage(job.stage)
    trained = load_file(job.folder.weights)
    state = model.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in trained.items())
    assert set(state) == set(built.state_dict())
    text = "return self.items[0] + value * 7\n" * 3
    nats, written = model.nll(text), model.generate("def ", max_new_tokens=12)
    model.save_pretrained(tmp_path / "exported")
    assert sum(path.stat().st_size for path in (tmp_path / "exported").iterdir()) < 2e6
    monkeypatch.setenv(PLACES, str(llama.parent))
    again = memlab.load(tmp_path / "exported")
    assert again.nll(text) == nats and again.generate("def ", max_new_tokens=12) == written
    monkeypatch.delenv(PLACES)
    with pytest.raises(UserError, match=f"tiny-llama is needed .* Set {PLACES}"):
        memlab.load(tmp_path / "exported")


def test_a_run_on_changed_files_is_refused(jobs: Jobs, llama: Path, tmp_path: Path) -> None:
    model = shutil.copytree(llama, tmp_path / "model")
    (job,) = jobs(model, *LORA, *SHORT)
    run_chain([job], Workload())
    change(model)
    with pytest.raises(UserError, match=r"model have changed: those in .* are not those of SHA-256"):
        memlab.load(job.folder.path)
    (anew,) = jobs(model, *LORA, *SHORT)
    assert anew.stage.fingerprint != job.stage.fingerprint


def test_where_the_model_lies_does_not_change_the_fingerprint(jobs: Jobs, llama: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(llama, tmp_path / "elsewhere" / llama.name)
    one, other = (jobs(model, *PROBE)[0] for model in (llama, elsewhere))
    assert one.stage == other.stage and str(llama.parent) not in str(one.stage)


def test_memories_of_a_frozen_encoder_are_made_once(
    jobs: Jobs, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second seed reads those that the first has made; the numbers are those without the cache."""
    calls: list[int] = []
    training: list[bool] = []  # held-out windows and shown texts are not kept

    def step(module: StageModule, *arguments: Any) -> Any:
        training.append(True)
        result = original_step(module, *arguments)
        training.pop()
        return result

    def counted(encoder: PretrainedEncoder, tokens: torch.Tensor) -> torch.Tensor:
        calls.extend([1] * len(tokens) * len(training))
        return original(encoder, tokens)

    original, original_step = PretrainedEncoder.forward, StageModule.training_step
    few = (*PROBE, *SHORT, "trainer.train_windows=16", "scale.encoder_batch_size=8")
    (plain,) = jobs(bert, *few, runs=tmp_path / "plain")
    run_chain([plain], Workload())
    monkeypatch.setattr(PretrainedEncoder, "forward", counted)
    monkeypatch.setattr(StageModule, "training_step", step)
    made = []
    for seed in (0, 1):
        (kept,) = jobs(bert, *few, "trainer.cache_embeddings=true", f"seed={seed}")
        calls.clear()
        run_chain([kept], Workload())
        made.append(len(calls))
        if seed == 0:
            for name, tensor in load_file(plain.folder.weights).items():
                torch.testing.assert_close(tensor, load_file(kept.folder.weights)[name])
    assert made == [16, 0], "16 windows are trained on, in six steps of 8"


def test_a_stage_without_anything_to_train_is_refused(jobs: Jobs, llama: Path) -> None:
    (job,) = jobs(llama, *FROZEN, "encoder=pretrained")
    with pytest.raises(UserError, match="nothing of this model is trained"):
        build_stage(job.stage)


def test_lora_and_projection_alone_are_small(jobs: Jobs, llama: Path) -> None:
    (job,) = jobs(llama, *LORA, *SHORT, "encoder=pretrained")
    run_chain([job], Workload())
    names = {name.split(".")[0] for name in load_file(job.folder.weights)}
    assert names == {"decoder"}, "encoder and decoder are of one width, so nothing is projected"

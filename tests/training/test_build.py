"""What a stage's model is made of, and which weights it starts from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from memlab.config.instantiate import build
from memlab.config.stage import Stage
from memlab.errors import UserError
from memlab.models import Autoencoder, LanguageModel
from memlab.objectives import Objective
from memlab.training.build import build_stage, layout_of, load_weights, start_from
from memlab.training.stage import _save
from tests import tiny
from tests.tiny import CHUNKS, LENGTH, VOCAB, WIDTH


def part(name: str, **keys: Any) -> dict[str, Any]:
    return {"_target_": name, "_partial_": True, **keys}


def stack(heads: int, width: int = WIDTH) -> dict[str, Any]:
    return part(
        "memlab.models.Stack",
        width=width,
        layers=2,
        mixer=part("memlab.models.MaskedMixing", heads=heads),
        mlp=part("memlab.models.GeluMLP"),
        norm=part("torch.nn.LayerNorm"),
    )


def encoder(width: int = WIDTH, **more: Any) -> dict[str, Any]:
    return part("memlab.models.StackEncoder", stack=stack(2, width), **more)


DECODER = part("memlab.models.StackDecoder", stack=stack(0))
MEMORY: dict[str, Any] = {
    "_target_": "memlab.models.MemoryModel",
    "encoder": encoder(),
    "decoder": DECODER,
    "vocab": VOCAB,
    "chunks": CHUNKS,
    "length": LENGTH,
}
AUTOENCODER: dict[str, Any] = {
    "_target_": "memlab.models.Autoencoder",
    "encoder": encoder(),
    "decoder": part("memlab.models.StackDecoder", stack=stack(2)),
    "bridge": part("memlab.models.UnrollBridge"),
    "vocab": VOCAB,
    "length": LENGTH,
}
CAUSAL: dict[str, Any] = {
    "_target_": "memlab.models.CausalLM",
    "decoder": part("memlab.models.StackDecoder", stack=stack(2)),
    "vocab": VOCAB,
    "chunks": 1,
    "length": LENGTH,
}
PROBE = {**AUTOENCODER, "encoder": encoder(skip=1)}  # of an encoder that is read in front of its last position
OBJECTIVES = {"copy": "Copy", "autoencode": "Autoencode", "clm": "CausalLanguageModelling"}


def stage_of(model: dict[str, Any], objective: str, *, freeze: bool | str = False, start: str | None = None) -> Stage:
    return Stage(
        name="main",
        model=model,
        objective={"_target_": f"memlab.objectives.{OBJECTIVES[objective]}"},
        data={"hash": "0", "vocab": VOCAB, "blank": 0, "delimiter": 1},
        training={"seed": 0},
        start=None if start is None else {"fingerprint": "0", "part": start},
        freeze_encoder=freeze,
        place=0,
    )


def saved(spec: dict[str, Any] | LanguageModel, folder: Path) -> tuple[LanguageModel, Path]:
    """Make a model with weights of its own, and save it."""
    model: LanguageModel = build(spec) if isinstance(spec, dict) else spec
    _save({f"model.{name}": value for name, value in model.state_dict().items()}, model.saved_names(), folder / "w")
    return model, folder / "w"


def weights_of(model: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def step(model: LanguageModel, objective: Objective, stage: Stage) -> None:
    """Take one optimizer step on what is not frozen."""
    tokens = torch.randint(2, VOCAB, (4, objective.window(layout_of(stage))))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    objective.losses(model, tokens, layout_of(stage))[0].backward()
    torch.optim.AdamW(trained, lr=0.1, weight_decay=0.0).step()


@pytest.mark.parametrize(("spec", "objective"), [(MEMORY, "copy"), (PROBE, "autoencode")], ids=["memory", "probe"])
@pytest.mark.parametrize("freeze", [True, "blocks", False])
def test_what_is_taken_and_what_is_trained(
    freeze: bool | str, spec: dict[str, Any], objective: str, tmp_path: Path
) -> None:
    """From another run's encoder, by a decoder or a probe. "blocks": behind a fresh trainable embedding."""
    source, path = saved(AUTOENCODER, tmp_path)
    stage = stage_of(spec, objective, freeze=freeze, start="encoder")
    model, made = build_stage(stage)
    drawn = weights_of(model)
    start_from(model, stage, path)
    started = weights_of(model)
    step(model, made, stage)
    trained = weights_of(model)
    for name, value in started.items():
        in_encoder, in_embedding = name.startswith("encoder."), name == "encoder.embedding.weight"
        taken = in_encoder and not (in_embedding and freeze == "blocks")
        assert torch.equal(value, source.state_dict()[name] if taken else drawn[name]), name
    moved = {name for name, value in started.items() if not torch.equal(trained[name], value)}
    frozen = {"blocks": "encoder.stack.", True: "encoder.", False: None}[freeze]
    assert moved == {name for name in started if frozen is None or not name.startswith(frozen)}


def test_an_encoder_starts_from_a_causal_model_s_decoder(tmp_path: Path) -> None:
    source, path = saved(CAUSAL, tmp_path)
    stage = stage_of(MEMORY, "copy", start="encoder")
    model, _ = build_stage(stage)
    drawn = weights_of(model)
    start_from(model, stage, path)
    theirs = source.state_dict()
    for name, value in model.state_dict().items():
        taken = name.startswith("encoder.")
        expected = theirs[f"decoder.{name.removeprefix('encoder.')}"] if taken else drawn[name]
        assert torch.equal(value, expected), name


def test_a_decoder_starts_from_a_model_with_memories(tmp_path: Path) -> None:
    source, path = saved(MEMORY, tmp_path)
    stage = stage_of({**MEMORY, "encoder": None}, "copy", start="decoder")
    model, _ = build_stage(stage)
    start_from(model, stage, path)
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_curriculum_hands_a_fresh_embedding_on(tmp_path: Path) -> None:
    """It is drawn anew where the encoder is taken, and kept by the stages behind it."""
    before, _ = build_stage(replace(stage_of(MEMORY, "copy", freeze="blocks"), training={"seed": 1}))
    _, path = saved(before, tmp_path)
    stage = stage_of(MEMORY, "copy", freeze="blocks", start="all")
    model, _ = build_stage(stage)
    start_from(model, stage, path)
    assert all(torch.equal(value, before.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_probe_reads_an_encoder_of_a_memory_model(tmp_path: Path) -> None:
    """Its regenerating decoder is new: the logits follow from the taken encoder's memories alone."""
    source, path = saved({**MEMORY, "encoder": encoder(skip=1)}, tmp_path)
    stage = stage_of(PROBE, "autoencode", freeze=True, start="encoder")
    probe, _ = build_stage(stage)
    start_from(probe, stage, path)
    assert isinstance(probe, Autoencoder) and source.encoder is not None
    chunk = torch.randint(2, VOCAB, (3, LENGTH))
    expected = probe.head(probe.decoder.stack(probe.bridge(source.encoder(chunk))))  # type: ignore[operator]
    torch.testing.assert_close(probe(chunk[:, None])[:, 0], expected)


def test_weights_that_do_not_fit_are_a_clear_error(tmp_path: Path) -> None:
    wide = part("memlab.models.StackDecoder", stack=stack(2, WIDTH // 2))
    _, path = saved({**AUTOENCODER, "encoder": encoder(WIDTH // 2), "decoder": wide}, tmp_path)
    stage = stage_of(MEMORY, "copy", start="encoder")
    model, _ = build_stage(stage)
    with pytest.raises(UserError, match="do not fit this config"):
        start_from(model, stage, path)
    with pytest.raises(UserError, match="do not fit this config"):
        load_weights(model, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot read"):
        start_from(model, stage, path)


def test_a_stage_is_built_from_its_seed() -> None:
    stages = [replace(stage_of(MEMORY, "copy"), training={"seed": seed}) for seed in (0, 0, 1)]
    one, two, three = (build_stage(stage)[0].head.weight for stage in stages)
    assert torch.equal(one, two) and not torch.equal(one, three)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (part("memlab.models.NoDecoder"), "cannot be imported"),
        (part("no_such_module.Decoder"), "cannot be imported"),
        ({**DECODER, "colour": "red"}, "does not take colour"),
    ],
)
def test_a_wrong_target_is_a_clear_error(target: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_stage(stage_of({**MEMORY, "decoder": target}, "copy"))


def test_what_is_no_model_or_no_objective_is_said() -> None:
    with pytest.raises(UserError, match="is no model"):
        build_stage(replace(stage_of(MEMORY, "copy"), model={"_target_": "torch.nn.Identity", "length": LENGTH}))
    with pytest.raises(UserError, match="is no objective"):
        build_stage(replace(stage_of(MEMORY, "copy"), objective={"_target_": "builtins.dict"}))


def borrowing(kind: str, names: set[str]) -> LanguageModel:
    """Return a memory model whose encoder has borrowed some weights, as from a published model."""
    model = tiny.memory_model(kind)
    assert model.encoder is not None
    model.encoder.borrowed = frozenset(names)
    return model


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("everything", [False, True])
def test_borrowed_weights_are_neither_written_nor_needed(kind: str, everything: bool, tmp_path: Path) -> None:
    names = set(tiny.memory_model(kind).encoder.state_dict()) if everything else {"embedding.weight"}  # type: ignore[union-attr]
    source, path = saved(borrowing(kind, names), tmp_path)
    borrowed = {f"encoder.{name}" for name in names}
    written = load_file(path)
    assert {*written} == {*source.state_dict()} - borrowed
    for start in (None, "encoder"):
        model = borrowing(kind, names)
        drawn = weights_of(model)
        if start is None:
            load_weights(model, path)
        else:
            start_from(model, stage_of(MEMORY, "copy", start=start), path)
        for name, value in model.state_dict().items():
            taken = name in written and (start is None or name.startswith("encoder."))
            assert torch.equal(value, written[name] if taken else drawn[name]), (start, name)


def test_tied_weights_are_written_under_both_names(tmp_path: Path) -> None:
    """The file's format refuses two names for one tensor, after all the training."""
    model = tiny.causal_lm("transformer")
    model.decoder.head.weight = model.decoder.embedding.weight  # type: ignore[union-attr, assignment]
    _, path = saved(model, tmp_path)
    again = tiny.causal_lm("transformer")
    load_weights(again, path)
    assert torch.equal(again.head.weight, model.head.weight)
    assert torch.equal(again.decoder.embedding.weight, model.head.weight)  # type: ignore[union-attr]


def test_weights_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = saved(MEMORY, tmp_path)
    before = path.read_bytes()

    def half(weights: Any, file: Path) -> None:
        save_file(weights, file)
        Path(file).write_bytes(Path(file).read_bytes()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("memlab.training.stage.save_file", half)
    with pytest.raises(OSError):
        saved(MEMORY, tmp_path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["w"]

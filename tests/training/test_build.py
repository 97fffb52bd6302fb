from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from memlab.config.plan import Stage
from memlab.models import Autoencoder, CausalLM, LanguageModel
from memlab.objectives import Objective
from memlab.training.build import build_model, build_stage, load_weights, start_from
from tests.tiny import LENGTH, VOCAB, WIDTH

MIXER = {"_target_": "memlab.models.mixer.MixerStack", "width": WIDTH, "layers": 2, "heads": 2, "taps": 1}
MEMORY: dict[str, Any] = {
    "kind": "memory",
    "chunks": 4,
    "chunk_length": LENGTH,
    "encoder": MIXER,
    "decoder": {**MIXER, "heads": 0},
    "memories": 1,
    "compression": 1,
    "slots": "fixed",
    "fill": 0.0,
    "skip": 0,
    "embedding_std": 0.02,
}
AUTOENCODER: dict[str, Any] = {
    "kind": "autoencoder",
    "chunk_length": LENGTH,
    "encoder": MIXER,
    "memories": 1,
    "compression": 1,
    "bridge": "unroll",
    "embedding_std": 0.02,
}
PROBE = {**AUTOENCODER, "skip": 1}  # of an encoder that is read in front of its last position


def test_an_encoder_is_taken_whole_from_an_autoencoder(tmp_path: Path) -> None:
    autoencoder, memory = build_model(AUTOENCODER, VOCAB), build_model(MEMORY, VOCAB)
    head = memory.head.weight.clone()
    save_file(autoencoder.state_dict(), tmp_path / "model.safetensors")
    load_weights(memory, tmp_path / "model.safetensors", "encoder")
    assert memory.encoder is not None and autoencoder.encoder is not None
    theirs = autoencoder.encoder.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in memory.encoder.state_dict().items())
    assert torch.equal(memory.head.weight, head), "only the encoder is taken"


def stage_of(model: dict[str, Any], objective: str, *, freeze: bool | str, part: str = "encoder") -> Stage:
    target = {"copy": "copy.Copy", "autoencode": "autoencode.Autoencode", "clm": "clm.CausalLanguageModelling"}
    start = {"fingerprint": "0", "part": part}
    made = {"_target_": f"memlab.objectives.{target[objective]}"}
    return Stage("main", model, made, {"vocab": VOCAB}, {"seed": 0}, start, freeze)


def weights_of(model: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def step(model: LanguageModel, objective: Objective) -> None:
    """One optimizer step on what is not frozen."""
    chunks = 1 if isinstance(model, Autoencoder) else 4
    tokens = torch.randint(2, VOCAB, (4, objective.window(chunks, LENGTH)))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    objective.losses(model, tokens, chunks=chunks, length=LENGTH)[0].backward()
    torch.optim.AdamW(trained, lr=0.1, weight_decay=0.0).step()


FREEZES: list[tuple[bool | str, dict[str, Any], str]] = [
    (freeze, model, objective)
    for freeze in (True, "blocks", False)
    for model, objective in ((MEMORY, "copy"), (PROBE, "autoencode"))
]


@pytest.mark.parametrize(("freeze", "spec", "objective"), FREEZES)
def test_what_is_taken_and_what_is_trained(
    freeze: bool | str, spec: dict[str, Any], objective: str, tmp_path: Path
) -> None:
    """Of another run's encoder, by a decoder or a probe. "blocks": as published, behind a fresh trainable embedding."""
    source = build_model(AUTOENCODER, VOCAB)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    stage = stage_of(spec, objective, freeze=freeze)
    model, made = build_stage(stage)
    drawn = weights_of(model)
    start_from(model, stage, tmp_path / "model.safetensors")
    started = weights_of(model)
    step(model, made)
    trained = weights_of(model)
    for name, value in started.items():
        in_encoder, in_embedding = name.startswith("encoder."), name == "encoder.embedding.weight"
        taken = in_encoder and not (in_embedding and freeze == "blocks")
        assert torch.equal(value, source.state_dict()[name] if taken else drawn[name]), name
    moved = {name for name, value in started.items() if not torch.equal(trained[name], value)}
    frozen = {"blocks": "encoder.stack.", True: "encoder.", False: None}[freeze]
    assert moved == {name for name in started if frozen is None or not name.startswith(frozen)}


def test_a_curriculum_hands_a_fresh_embedding_on(tmp_path: Path) -> None:
    """It is drawn anew where the encoder is taken, and kept by the stages behind it."""
    before, _ = build_stage(replace(stage_of(MEMORY, "copy", freeze="blocks"), training={"seed": 1}))
    save_file(before.state_dict(), tmp_path / "model.safetensors")
    stage = stage_of(MEMORY, "copy", freeze="blocks", part="all")
    model, _ = build_stage(stage)
    start_from(model, stage, tmp_path / "model.safetensors")
    assert all(torch.equal(value, before.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_probe_reads_an_encoder_of_a_memory_model(tmp_path: Path) -> None:
    """Its regenerating decoder is new: the logits follow from the taken encoder's memories alone."""
    source = build_model({**MEMORY, "skip": 1}, VOCAB)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    stage = stage_of(PROBE, "autoencode", freeze=True)
    probe, _ = build_stage(stage)
    start_from(probe, stage, tmp_path / "model.safetensors")
    assert isinstance(probe, Autoencoder) and source.encoder is not None
    chunk = torch.randint(2, VOCAB, (3, LENGTH))
    expected = probe.head(probe.stack(probe.bridge(source.encoder(chunk))))
    torch.testing.assert_close(probe(chunk[:, None])[:, 0], expected)


@pytest.mark.parametrize("kind", ["full_context", "recurrent"])
@pytest.mark.parametrize("objective", ["clm", "copy"])
def test_controls_are_scored_where_memory_models_are(kind: str, objective: str) -> None:
    control = {key: MEMORY[key] for key in ("chunks", "chunk_length", "decoder", "embedding_std")} | {"kind": kind}
    tokens: torch.Tensor | None = None
    counts = []
    for spec in (MEMORY, control | {"detach_every": 0}):
        model, made = build_stage(stage_of(spec, objective, freeze=False))
        tokens = torch.randint(2, VOCAB, (3, made.window(4, LENGTH))) if tokens is None else tokens
        logits = model(made.tables(tokens, 4, LENGTH)[0].inputs_BCL, range(2, 4))
        assert logits.shape == (3, 2, LENGTH, VOCAB)
        counts.append(made.losses(model, tokens, chunks=4, length=LENGTH)[1][objective].count_R)
    assert torch.equal(*counts) and (counts[0] == (4 if objective == "clm" else 2) * (LENGTH - 1)).all()


def test_full_context_reads_the_whole_sequence_at_once() -> None:
    """Chunk c's logits are those of a causal model of C * L tokens at its places."""
    spec = {key: MEMORY[key] for key in ("chunks", "chunk_length", "decoder", "embedding_std")}
    model = build_model(spec | {"kind": "full_context"}, VOCAB)
    assert isinstance(model, CausalLM)
    tokens = torch.randint(2, VOCAB, (3, 4, LENGTH))
    whole = model.head(model.encoder.stack(model.encoder.embedding(tokens.flatten(1))))
    torch.testing.assert_close(model(tokens, range(1, 3)), whole[:, LENGTH : 3 * LENGTH].unflatten(1, (2, LENGTH)))


def test_weights_that_do_not_fit_are_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    narrow = {**AUTOENCODER, "encoder": {**MIXER, "width": WIDTH // 2}}
    save_file(build_model(narrow, VOCAB).state_dict(), path)
    with pytest.raises(ValueError, match="do not fit this config"):
        load_weights(build_model(MEMORY, VOCAB), path, "encoder")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot read"):
        load_weights(build_model(MEMORY, VOCAB), path, "encoder")


def test_a_stage_is_built_from_its_seed() -> None:
    stages = [
        Stage(
            "main", MEMORY, {"_target_": "memlab.objectives.copy.Copy"}, {"vocab": VOCAB}, {"seed": seed}, None, False
        )
        for seed in (0, 0, 1)
    ]
    one, two, three = (build_stage(stage)[0].head.weight for stage in stages)
    assert torch.equal(one, two) and not torch.equal(one, three)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"_target_": "memlab.models.mixer.NoStack"}, "cannot be imported"),
        ({"_target_": "no_such_module.Stack"}, "cannot be imported"),
        ({**MIXER, "colour": "red"}, "does not take these keys"),
    ],
)
def test_a_wrong_target_is_a_clear_error(target: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model({**MEMORY, "decoder": target}, VOCAB)

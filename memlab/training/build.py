"""From plain specifications (memlab/config/plan.py) to models and objectives."""

import importlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from memlab.config.plan import Stage
from memlab.data.prepare import BLANK, DELIMITER
from memlab.errors import UserError
from memlab.models import (
    Autoencoder,
    CausalLM,
    ChunkEncoder,
    Encoder,
    LanguageModel,
    MemoryModel,
    RecurrentMemoryModel,
    RepeatBridge,
    Stack,
    UnrollBridge,
    decoder_length,
)
from memlab.objectives import Objective

Spec = dict[str, Any]
ADVICE = {
    "autoencode": "take encoder=frozen_autoencoder, or curriculum=probe to read another encoder",
    "retrieval": "take encoder=frozen_causal_retrieval",
}


def build_model(spec: Spec, vocab: int) -> LanguageModel:
    """The model of a stage, with random weights. Raises UserError where its parts do not fit."""
    length = spec["chunk_length"]
    if spec["kind"] == "causal":
        return CausalLM(_encoder(spec, vocab), vocab)
    if spec["kind"] == "encoder":
        return ChunkEncoder(_encoder(spec, vocab))
    if spec["kind"] == "full_context":
        stack = _stack(spec["decoder"], spec["chunks"] * length)
        return CausalLM(Encoder(stack, vocab, embedding_std=spec["embedding_std"]), vocab)
    if spec["kind"] == "recurrent":
        keys = ("chunks", "detach_every", "embedding_std")
        stack = _stack(spec["decoder"], length + 2)
        return RecurrentMemoryModel(stack, vocab, length=length, **{key: spec[key] for key in keys})
    if spec["kind"] == "autoencoder":
        bridge: type[UnrollBridge] | type[RepeatBridge] = UnrollBridge if spec["bridge"] == "unroll" else RepeatBridge
        return Autoencoder(
            _encoder(spec, vocab),
            _stack(spec["encoder"], length),
            bridge(width=spec["encoder"]["width"], length=length, memories=spec["memories"]),
            vocab,
        )
    assert spec["kind"] == "memory", spec["kind"]
    layout: Spec = {"chunks": spec["chunks"], "length": length, "memories": spec["memories"], "slots": spec["slots"]}
    return MemoryModel(
        _encoder(spec, vocab) if spec["encoder"] is not None else None,
        _stack(spec["decoder"], decoder_length(**layout)),
        vocab,
        **layout,
        fill=spec["fill"],
        embedding_std=spec["embedding_std"],
    )


def build_objective(spec: Spec) -> Objective:
    objective = _make(spec, blank=BLANK, delimiter=DELIMITER)
    assert isinstance(objective, Objective)
    return objective


def chunks_of(stage: Stage) -> int:
    """Chunks per window: an encoder's own training has one."""
    return int(stage.model.get("chunks", 1))


def build_stage(stage: Stage) -> tuple[LanguageModel, Objective]:
    """Model and objective of a stage on the current default device, seeded by the stage's seed.

    Raises UserError for a layout that the objective does not have and a kind of model that it cannot train.
    """
    torch.manual_seed(stage.training["seed"])
    model = build_model(stage.model, stage.data["vocab"])
    objective = build_objective(stage.objective)
    require_fits(objective, stage)
    if stage.freeze_encoder:
        assert model.encoder is not None
        model.encoder.requires_grad_(False)
        if stage.freeze_encoder == "blocks":
            model.encoder.embedding.requires_grad_(True)
    return model, objective


def require_fits(objective: Objective, stage: Stage) -> None:
    """Raises UserError for a layout that the objective does not have and a kind of model that it cannot score."""
    objective.window(chunks_of(stage), stage.model["chunk_length"])
    if stage.model["kind"] not in objective.models:
        raise UserError(
            f"objective={objective.name} is for models of kind {' or '.join(objective.models)}, not"
            f" {stage.model['kind']}: {ADVICE.get(objective.name, 'choose another objective')}"
        )


def start_from(model: LanguageModel, stage: Stage, weights: Path) -> None:
    """Weights of the stage before, as `stage.start` says. A fresh token embedding keeps the one it was built with."""
    assert stage.start is not None
    fresh = stage.freeze_encoder == "blocks" and stage.start["part"] == "encoder"
    load_weights(model, weights, stage.start["part"], leave=("embedding.weight",) if fresh else ())


def load_weights(model: LanguageModel, path: Path, part: str, leave: tuple[str, ...] = ()) -> None:
    """Copies the weights in a .safetensors file into the model: `all`, or its `encoder` alone; those to `leave` stay.

    Raises UserError if the file cannot be read, or a weight is missing or of another shape.
    """
    target = model.encoder if part == "encoder" else model
    prefix = "encoder." if part == "encoder" else ""
    assert target is not None
    try:
        with safe_open(str(path), framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 (not a dict)
            state = {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {path} ({error}): delete {path.parent} and run the command again") from None
    try:
        target.load_state_dict(state | {name: target.state_dict()[name] for name in leave})
    except RuntimeError as error:
        raise UserError(f"the weights of {path} do not fit this config: {error}") from None


def _encoder(spec: Spec, vocab: int) -> Encoder:
    keys = ("memories", "skip", "compression", "embedding_std")
    return Encoder(_stack(spec["encoder"], spec["chunk_length"]), vocab, **{k: spec[k] for k in keys if k in spec})


def _stack(spec: Spec, length: int) -> Stack:
    stack = _make(spec, length=length)
    assert isinstance(stack, Stack)
    return stack


def _make(spec: Spec, **more: Any) -> Any:
    """An instance of the class that `_target_` names, given the other keys and `more`; a key set to null is left out.

    Raises UserError for a class that cannot be imported or does not take a key.
    """
    module, _, name = spec["_target_"].rpartition(".")
    given = {key: value for key, value in spec.items() if key != "_target_" and value is not None} | more
    try:
        target = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"_target_={spec['_target_']} cannot be imported: {error}") from None
    try:
        return target(**given)
    except TypeError as error:
        raise UserError(f"{spec['_target_']} does not take these keys: {error}") from None

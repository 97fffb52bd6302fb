"""From a stage's specification to its model and objective, with the weights that the stage starts from."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from memlab.config.instantiate import build
from memlab.config.stage import Config, Stage
from memlab.errors import UserError
from memlab.models import LanguageModel
from memlab.objectives import Layout, Objective


def build_stage(stage: Stage) -> tuple[LanguageModel, Objective]:
    """Build model and objective of a stage, on the default device, with random weights of the stage's seed.

    The global random generator is left as it was. Raises UserError where the parts do not fit each other.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage.training["seed"])
        model = build(stage.model)
    if not isinstance(model, LanguageModel):
        raise UserError(f"{stage.model['_target_']} is no model: derive it from memlab.models.LanguageModel")
    objective = build_objective(stage.objective, stage)
    model.freeze_encoder(stage.freeze_encoder)
    return model, objective


def build_objective(spec: Config, stage: Stage) -> Objective:
    """Build an objective with the special tokens of a stage's text. Raises UserError if it cannot have the layout."""
    objective = build(spec, blank=stage.data["blank"], delimiter=stage.data["delimiter"])
    if not isinstance(objective, Objective):
        raise UserError(f"{spec['_target_']} is no objective: derive it from memlab.objectives.Objective")
    objective.window(layout_of(stage))
    return objective


def layout_of(stage: Stage) -> Layout:
    return Layout(**stage.layout)


def start_from(model: LanguageModel, stage: Stage, weights: Path) -> None:
    """Load the weights of the stage before, as `stage.start` says. A fresh token embedding keeps its random weights.

    Raises UserError if the file cannot be read, or a weight is missing or of another shape.
    """
    assert stage.start is not None
    if stage.start["part"] == "all":
        load_weights(model, weights)
        return
    part = stage.start["part"]
    fresh = part == "encoder" and stage.freeze_encoder == "blocks"
    target = model.encoder if part == "encoder" else model.decoder
    assert target is not None
    state = _read(weights, f"{part}.")
    if not state:  # a causal language model: its decoder's table and stack become the encoder's
        state = {name: tensor for name, tensor in _read(weights, "decoder.").items() if name in target.state_dict()}
    kept = {name: tensor for name, tensor in target.state_dict().items() if fresh and name.startswith("embedding.")}
    _load(target, state | kept, weights)


def load_weights(model: LanguageModel, path: Path) -> None:
    """Load a model's own weights from a .safetensors file.

    Raises UserError if the file cannot be read, or a weight is missing or of another shape.
    """
    state = _read(path, "")
    borrowed = {name: tensor for name, tensor in model.state_dict().items() if name not in model.saved_names()}
    _load(model, borrowed | state, path)


def _load(target: torch.nn.Module, state: dict[str, Tensor], path: Path) -> None:
    try:
        target.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"the weights of {path} do not fit this config: {error}") from None


def _read(path: Path, prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix`, without it."""
    try:
        with safe_open(str(path), framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 (not a dict)
            return {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {path} ({error}): delete {path.parent} and run the command again") from None

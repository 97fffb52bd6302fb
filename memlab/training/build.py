"""From a stage's specification to its model and objective, with the weights that the stage starts from."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from memlab.config.instantiate import build
from memlab.config.stage import Config, Job, Stage
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
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError("nothing of this model is trained: encoder and decoder are frozen, and both have one width")
    return model, objective


def build_objective(spec: Config, stage: Stage) -> Objective:
    """Build an objective with the special tokens of a stage's text. Raises UserError if it cannot have the layout."""
    objective = build(spec, blank=stage.data["blank"], delimiter=stage.data["delimiter"])
    if not isinstance(objective, Objective):
        raise UserError(f"{spec['_target_']} is no objective: derive it from memlab.objectives.Objective")
    objective.window(layout_of(stage))
    return objective


def require_trainable(job: Job) -> None:
    """Raise UserError if an objective that the model is measured by does not fit it, or the optimizer its values."""
    with torch.device("meta"):
        model, _ = build_stage(job.stage)
        for evaluation in job.evaluations:
            build_objective(evaluation.settings["objective"], job.stage).require(model)
    training = job.stage.training
    try:
        build(training["optimizer"])([torch.nn.Parameter(torch.zeros(2, 2))])
        build(training["schedule"])(0, training["steps"])
    except UserError:
        raise
    except Exception as error:  # whatever a library says of a value
        raise UserError(
            f"the optimizer or its schedule does not take these values ({error}): see optimizer= and schedule="
        ) from None


def layout_of(stage: Stage) -> Layout:
    return Layout(**stage.layout)


def start_from(model: LanguageModel, stage: Stage, weights: Path) -> None:
    """Load the weights of the stage before, as `stage.start` says. A fresh token embedding keeps its random weights.

    Raises UserError if the file cannot be read, or a weight is missing or of another shape.
    """
    assert stage.start is not None
    part = stage.start["part"]
    if part == "all":
        load_weights(model, weights)
        return
    target = model.encoder if part == "encoder" else model.decoder
    assert target is not None
    own = {name.removeprefix(f"{part}.") for name in model.saved_names() if name.startswith(f"{part}.")}
    state = _read(weights, f"{part}.")
    if own and not state:  # a causal language model: its decoder's table and stack become the encoder's
        state = {name: tensor for name, tensor in _read(weights, "decoder.").items() if name in own}
    if part == "encoder" and stage.freeze_encoder == "blocks":
        own -= {name for name in own if name.startswith("embedding.")}
    _load(target, state, own, weights)


def load_weights(model: LanguageModel, path: Path) -> None:
    """Load a model's own weights from a .safetensors file.

    Raises UserError if the file cannot be read, or a weight is missing or of another shape.
    """
    _load(model, _read(path, ""), model.saved_names(), path)


def _load(target: torch.nn.Module, state: dict[str, Tensor], own: set[str], path: Path) -> None:
    """Load `state`. The weights whose names are not in `own` stay as they are."""
    kept = {name: tensor for name, tensor in target.state_dict().items() if name not in own}
    try:
        target.load_state_dict(state | kept)
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

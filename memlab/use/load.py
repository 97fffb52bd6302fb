"""A finished model from its folder alone: without its corpus, Hydra or Lightning."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from memlab.config.instantiate import build
from memlab.errors import UserError
from memlab.models import LanguageModel
from memlab.use.folder import WEIGHTS, read_codec, read_shapes, read_stage, read_weights, remember_pretrained
from memlab.use.hub import HUB_ID, download
from memlab.use.text_model import TextModel
from memlab.use.trusted import require_trusted

SHOWN = 3  # weights that a message names


def load(
    path: str | os.PathLike[str],
    *,
    device: str = "cpu",
    trust: Sequence[str] = (),
    revision: str | None = None,
    token: str | None = None,
) -> TextModel:
    """Return a finished model with its tokenizer and config, ready to encode, decode, generate and score.

    path: a run folder (runs/stages/*) or a copy of one, a folder that `save_pretrained` wrote, or owner/name of a model
        on the Hugging Face Hub.
    device: where it computes, such as "cpu" or "cuda".
    trust: packages of your own whose classes the config may name, such as ["mylab"]. Without it nothing of the folder
        is executed: the config may name memlab's models and torch.nn's modules alone, and no pickle is read.
    revision, token: of the Hub, see its documentation; None: the newest, and the token that you logged in with.
    A model that is built on a pretrained one needs its files: see docs/pretrained.md.
    Raises UserError for a folder that is none of these, that is damaged, or whose files do not fit each other, and
    where the Hub does not give the model.
    """
    folder = Path(path).expanduser()
    if not folder.exists() and HUB_ID.fullmatch(str(path)):
        folder = download(str(path), revision, token)
    place = _device(device)
    stage, fingerprint = read_stage(folder)
    require_trusted(stage.model, trust, str(folder))
    codec = read_codec(folder)
    remember_pretrained(folder)
    with torch.device("meta"):  # shapes alone: a config of absurd sizes takes no memory
        shapes = _build(stage.model, folder)
    _require_fitting(shapes, folder / WEIGHTS)
    if shapes.vocab != codec.vocab:
        raise UserError(f"{folder}: the model has {shapes.vocab} tokens, the tokenizer {codec.vocab}")
    with torch.random.fork_rng(devices=[]):
        model = _build(stage.model, folder)
    model.load_state_dict(model.state_dict() | read_weights(folder / WEIGHTS))
    return TextModel(
        model.eval().requires_grad_(False).to(place), codec, stage, fingerprint, folder=folder, trust=tuple(trust)
    )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # an unknown name; a GPU that is not there
        raise UserError(f"device={name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def _build(spec: Any, folder: Path) -> LanguageModel:
    try:
        model = build(spec)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    except Exception as error:  # whatever a class says of values that it was not made for
        raise UserError(f"{folder}: its model cannot be built ({error})") from error
    if not isinstance(model, LanguageModel):
        raise UserError(f"{folder}: its config names no model")
    return model


def _require_fitting(model: LanguageModel, path: Path) -> None:
    """Compare the shapes of a weights' file with those of a model that holds none. Raises UserError."""
    there, state = read_shapes(path), model.state_dict()
    needed = {name: tuple(state[name].shape) for name in model.saved_names()}
    wrong = [f"{name} is missing" for name in sorted(needed.keys() - there.keys())]
    wrong += [f"{name} is unknown" for name in sorted(there.keys() - needed.keys())]
    both = sorted(there.keys() & needed.keys())
    wrong += [f"{name} is {there[name]}, not {needed[name]}" for name in both if there[name] != needed[name]]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(f"the weights of {path} do not fit the config beside them: {'; '.join(wrong[:SHOWN])}{more}")

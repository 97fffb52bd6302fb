"""What `load` reads: a run folder, or the folder that `save_pretrained` writes.

<folder>/
    model.safetensors   the model's own weights
    config.json         {"model_type": "memlab", "format": 1, "fingerprint", "stage": what was trained, as plain values}
    tokenizer.json  token_bytes.npy  special_tokens.json    (memlab/data/codec.py)
    README.md           the model card (memlab/use/card.py); an exported folder alone has one
"""

import json
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from memlab.config.stage import Stage
from memlab.data import TextCodec
from memlab.errors import UserError
from memlab.storage.files import read_json, replacing, write_atomic, write_json
from memlab.storage.pretrained import remember
from memlab.storage.run_folder import RunFolder

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1  # raise it when config.json changes its meaning


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run's, finished or not, which must stay as it was trained."""
    return (folder / "finished.json").exists() or (folder / "checkpoints").exists()


def read_stage(folder: Path) -> tuple[Stage, str]:
    """Return what was trained, and the fingerprint that it was trained under. Raises UserError."""
    if (folder / CONFIG).is_file() and not is_run(folder):
        return _read_exported(folder / CONFIG)
    run = RunFolder.open(folder)
    stage = Stage.read(run)
    try:
        finished = run.read_finished()
    except ValueError:
        finished = None
    fingerprint = finished.get("fingerprint") if isinstance(finished, dict) else None
    if not isinstance(fingerprint, str):
        raise UserError(f"{folder}: finished.json cannot be read; train that stage again")
    return stage, fingerprint


def remember_pretrained(folder: Path) -> None:
    """Let a pretrained model's files be looked for where the run in a folder had them, if it is one and says so."""
    if is_run(folder):
        with suppress(OSError, KeyError, TypeError, yaml.YAMLError):
            place = Path(str(RunFolder.open(folder).read_config()["config"]["pretrained"]["model"])).expanduser()
            if place.exists():
                remember(place)


def _read_exported(path: Path) -> tuple[Stage, str]:
    try:
        values = read_json(path)
    except (OSError, ValueError):
        raise UserError(f"{path} is no JSON: export the model again") from None
    stage = values.get("stage") if isinstance(values, dict) else None
    if not isinstance(stage, dict) or not isinstance(values.get("fingerprint"), str):
        raise UserError(f"{path} is not the config of a memlab model: give a run folder, or one of save_pretrained")
    if values.get("format") != FORMAT or {*stage} != {field.name for field in fields(Stage)}:
        raise UserError(f"{path} was written by another version of memlab: export the model again")
    return Stage(**stage), values["fingerprint"]


def write_folder(
    folder: Path, stage: Stage, fingerprint: str, weights: dict[str, Tensor], codec: TextCodec, card: str
) -> None:
    """Write an exported model; each file is there whole or not at all, config.json last. Raises OSError.

    Raises UserError for the folder of a run, which must stay as it was trained.
    """
    if is_run(folder):
        raise UserError(f"{folder} is a run folder: choose another folder to export to")
    folder.mkdir(parents=True, exist_ok=True)
    codec.export(folder)
    with replacing(folder / WEIGHTS) as temporary:
        # Copies: the format has no two names for one tensor, as of tied weights.
        save_file({name: tensor.detach().cpu().clone() for name, tensor in sorted(weights.items())}, temporary)
    about = {"model_type": "memlab", "format": FORMAT, "fingerprint": fingerprint, "stage": asdict(stage)}
    write_atomic(folder / CARD, card.encode())
    write_json(folder / CONFIG, about)


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a weights' file, by name; no weight is read. Raises UserError."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} holds no weights in the safetensors format ({error})") from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights' file whose shapes were read before."""
    return load_file(path)


def read_codec(folder: Path) -> TextCodec:
    """Return a folder's tokenizer, which is whole: its files fit each other. Raises UserError."""
    try:
        codec = TextCodec(folder)
        ids = [codec.blank, codec.delimiter]
        sizes: list[Any] = [codec.vocab, len(codec.token_bytes), codec.tokenizer.get_vocab_size()]
        whole = codec.token_bytes.ndim == 1 and len({*sizes}) == 1 and all(0 <= i < codec.vocab for i in ids)
    except UserError:
        raise
    except Exception as error:  # of four libraries: json, numpy, tokenizers, and what a wrong type meets
        cause = "its JSON is damaged" if isinstance(error, json.JSONDecodeError) else error
        raise UserError(f"the tokenizer of {folder} cannot be read: {cause}") from None
    if not whole:
        raise UserError(f"the tokenizer files of {folder} do not belong together: they have {sizes} token ids")
    return codec

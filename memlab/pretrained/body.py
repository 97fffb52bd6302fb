"""A pretrained model as transformers builds it, from the files that a specification names."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from memlab.errors import UserError
from memlab.pretrained.unpack import require_libraries, unpacked
from memlab.storage.pretrained import CONFIG, Files, locate

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def make_body(
    weights: Mapping[str, Any], kind: str, *, vocab: int, length: int, dtype: str, random: bool = False
) -> Any:
    """Return a model of transformers, without dropout and without a cache of its own.

    weights: {"name", "revision", "sha256"}. kind: the name of an Auto class of transformers. random: random weights,
    drawn by the global generator. On the device "meta" the model has shapes alone, and nothing is unpacked.
    Raises UserError where the files are not at hand or are others, and for a vocabulary or a length that does not fit.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype={dtype!r}: choose one of {', '.join(DTYPES)}.")
    require_libraries()
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    files = locate(weights)
    shapes_only = torch.get_default_device().type == "meta"
    config = _config(files, files.sha256, shapes_only)
    if config.vocab_size < vocab:
        raise UserError(
            f"{weights['name']} has {config.vocab_size} token ids and the text has {vocab}: take tokenizer=pretrained"
        )
    most = getattr(config, "max_position_embeddings", None)
    if most is not None and length > most:
        raise UserError(f"{weights['name']} reads {most} positions at most, not {length}: take shorter chunks")
    auto = getattr(transformers, kind)
    if shapes_only or random:
        return auto.from_config(config, dtype=DTYPES[dtype])
    body, report = auto.from_pretrained(
        str(unpacked(files)), config=config, dtype=DTYPES[dtype], local_files_only=True, output_loading_info=True
    )
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if missing:
        raise UserError(f"the files of {weights['name']} lack weights that {kind} needs, such as {missing[0]}")
    return body


def _config(files: Files, sha256: str, shapes_only: bool) -> Any:
    """Return a model's config, without dropout: what a stage computes then follows from its seed alone."""
    import transformers

    content = files.read(CONFIG) if shapes_only else None
    if content is not None:
        values = json.loads(content)
    elif shapes_only:
        values = _config_of_gguf(files, sha256)
    else:
        values = transformers.AutoConfig.from_pretrained(str(unpacked(files)), local_files_only=True).to_dict()
    off = {key: 0.0 for key, value in values.items() if ("drop" in key) and isinstance(value, float)}
    return transformers.AutoConfig.for_model(**{**values, **off, "use_cache": False})


@lru_cache(maxsize=8)
def _config_of_gguf(files: Files, sha256: str) -> dict[str, Any]:
    import transformers

    config = transformers.AutoConfig.from_pretrained(str(files.place.parent), gguf_file=files.place.name)
    return dict(config.to_dict())


def mask_on(device: torch.device, positions: int) -> dict[str, Tensor]:
    """Return the mask that a body needs on the device "meta": without one it asks for values, to find packed texts."""
    if device.type != "meta":
        return {}
    return {"attention_mask": torch.zeros(1, 1, positions, positions, device=device)}


def width_of(body: nn.Module) -> int:
    """Return the width of a body's token vectors."""
    return int(body.get_input_embeddings().embedding_dim)  # type: ignore[operator]

"""Values that no composed config may have, found before any work; without torch."""

from typing import Any

from memlab.errors import UserError

Config = dict[str, Any]
CHOICES: dict[str, dict[str, tuple[Any, ...]]] = {
    "architecture": {"bridge": ("unroll", "repeat"), "slots": ("fixed", "variable")},
    "encoder": {"freeze": (False, True, "blocks")},
    "trainer": {
        "strategy": ("auto", "ddp", "fsdp"),
        "precision": ("32-true", "bf16-mixed", "bf16-true", "64-true"),
        "matmul_precision": ("highest", "high", "medium"),
        "accelerator": ("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
        "compile": (None, True, False),
        "cache_embeddings": (True, False),
    },
}


def check(config: Config) -> None:
    """Values that no composed config may have, whatever the point. Raises UserError for the first one found."""
    _check_whole_numbers(config)
    _check_numbers(config)
    scale, architecture = config["scale"], config["architecture"]
    if scale["sequence"] != scale["chunks"] * scale["chunk_length"]:
        raise UserError(
            f"scale.sequence={scale['sequence']} is not scale.chunks * scale.chunk_length ="
            f" {scale['chunks']} * {scale['chunk_length']} = {scale['chunks'] * scale['chunk_length']}"
        )
    for part in ("encoder", "decoder"):
        stack = architecture[part]
        heads = stack.get("heads")
        if heads and stack["width"] % heads:
            raise UserError(
                f"architecture.{part}: width={stack['width']} is not divisible by heads={heads};"
                f" set scale.width or architecture.{part}.heads"
            )
    for group, keys in CHOICES.items():
        for key, allowed in keys.items():
            if config[group][key] not in allowed:
                raise UserError(f"{group}.{key}={config[group][key]}: choose one of {', '.join(map(str, allowed))}")
    trainer = config["trainer"]
    devices = trainer["devices"] * trainer["nodes"]
    sizes = {"trainer.batch_size": trainer["batch_size"]}
    for group in ("encoder", "curriculum"):
        for name, spec in config[group]["stages"].items():
            sizes[f"{group}.stages.{name}.batch_size"] = spec.get("batch_size") or devices
    for key, size in sizes.items():
        if size % devices:
            raise UserError(f"{key}={size} cannot be shared out to {devices} devices: choose a multiple")


def _check_whole_numbers(config: Config) -> None:
    scale, architecture, trainer = config["scale"], config["architecture"], config["trainer"]
    positive = {
        **{f"scale.{key}": scale[key] for key in ("chunks", "chunk_length", "sequence")},
        **{f"architecture.{key}": architecture[key] for key in ("memories", "compression")},
        **{f"trainer.{key}": trainer[key] for key in ("batch_size", "accumulate", "devices", "nodes")},
        **{f"trainer.{key}": trainer[key] for key in ("log_every", "validate_every", "checkpoint_every")},
        **{f"trainer.{key}": trainer[key] for key in ("validate_windows", "evaluate_windows")},
        "trainer.threads": 1 if trainer["threads"] is None else trainer["threads"],
        "tokenizer.vocab": config["tokenizer"]["vocab"],
    }
    for group in ("encoder", "curriculum"):
        for name, spec in config[group]["stages"].items():
            positive[f"{group}.stages.{name}.steps"] = spec["steps"]
            positive[f"{group}.stages.{name}.batch_size"] = spec.get("batch_size") or 1
    natural = {"seed": config["seed"], "encoder.skip": config["encoder"]["skip"]}
    natural |= {f"trainer.{key}": trainer[key] for key in ("workers", "free_running_windows", "restarts")}
    natural["architecture.detach_every"] = architecture["detach_every"]
    for part in ("encoder", "decoder"):
        for key in ("width", "layers", "heads", "taps"):
            if architecture[part].get(key) is not None:
                natural[f"architecture.{part}.{key}"] = architecture[part][key]
    for least, values in ((1, positive), (0, natural)):
        for key, value in values.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"{key}={value}: choose a whole number of at least {least}")


def _check_numbers(config: Config) -> None:
    architecture, optimizer = config["architecture"], config["optimizer"]
    numbers = {f"optimizer.{key}": optimizer[key] for key in ("lr", "weight_decay", "warmup")}
    numbers["trainer.max_loss"] = config["trainer"]["max_loss"]
    numbers["optimizer.clip"] = 1.0 if optimizer["clip"] is None else optimizer["clip"]
    numbers["architecture.embedding_std"] = architecture["embedding_std"]
    texts = {"data": config["data"], "evaluation.data": config["evaluation"]["data"] or {}}
    for key in ("val", "max_bytes"):
        numbers |= {f"{name}.{key}": text.get(key) or 0 for name, text in texts.items()}
    betas = optimizer["betas"]
    if not isinstance(betas, list) or len(betas) != 2:
        raise UserError(f"optimizer.betas={betas}: give two numbers, optimizer.betas=[0.9,0.999]")
    numbers |= {"optimizer.betas[0]": betas[0], "optimizer.betas[1]": betas[1]}
    for key, value in numbers.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise UserError(f"{key}={value}: choose a number of at least 0")
    if not isinstance(architecture["fill"], int | float):
        raise UserError(f"architecture.fill={architecture['fill']}: choose a number")

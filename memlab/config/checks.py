"""Values that no composed config may have, found before any work; without torch."""

from collections.abc import Iterator
from typing import Any

from memlab.errors import UserError

Config = dict[str, Any]
CHOICES: dict[str, tuple[Any, ...]] = {
    "architecture.slots": ("fixed", "variable"),
    "encoder.freeze": (False, True, "blocks"),
    "trainer.strategy": ("auto", "ddp", "fsdp"),
    "trainer.precision": ("32-true", "bf16-mixed", "bf16-true", "64-true"),
    "trainer.matmul_precision": ("highest", "high", "medium"),
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda"),
    "trainer.compile": (None, True, False),
    "trainer.cache_embeddings": (True, False),
}
POSITIVE = (
    "scale.chunks",
    "scale.chunk_length",
    "architecture.memories",
    "architecture.compression",
    "trainer.batch_size",
    "trainer.accumulate",
    "trainer.devices",
    "trainer.nodes",
    "trainer.log_every",
    "trainer.validate_every",
    "trainer.checkpoint_every",
    "trainer.validate_windows",
    "trainer.evaluate_windows",
    "tokenizer.vocab",
)
NATURAL = (
    "seed",
    "encoder.skip",
    "trainer.workers",
    "trainer.free_running_windows",
    "trainer.restarts",
    "architecture.detach_every",
)
NUMBERS = ("optimizer.lr", "optimizer.weight_decay", "trainer.max_loss", "architecture.embedding_std")
CACHED = ("32-true", "bf16-mixed")  # precisions that memories may be kept in
LARGEST_SEED = 2**63 - 1  # of torch's generators


def check(config: Config) -> None:
    """Raise UserError for the first value that no composed config may have."""
    for key, allowed in CHOICES.items():
        value = _at(config, key)
        if not any(value is option or (isinstance(option, str) and value == option) for option in allowed):
            raise UserError(f"{key}={value}: choose one of {', '.join(map(str, allowed))}")
    for least, numbers in ((1, _positive(config)), (0, _natural(config))):
        for key, value in numbers:
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"{key}={value}: choose a whole number of at least {least}")
    if config["seed"] > LARGEST_SEED:
        raise UserError(f"seed={config['seed']}: choose a seed below 2^63")
    for key, value in _numbers(config):
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise UserError(f"{key}={value}: choose a number of at least 0")
    if not isinstance(config["architecture"]["fill"], int | float):
        raise UserError(f"architecture.fill={config['architecture']['fill']}: choose a number")
    _check_heads(config)
    _check_devices(config)
    trainer = config["trainer"]
    if trainer["cache_embeddings"] and trainer["precision"] not in CACHED:
        raise UserError(
            "trainer.cache_embeddings=true keeps memories in fp32:"
            f" trainer.precision={trainer['precision']} needs false"
        )


def _at(config: Config, key: str) -> Any:
    """Return the value of a dotted key; None where a group of the user's own has no such key."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _stages(config: Config) -> Iterator[tuple[str, Config]]:
    for group in ("encoder", "curriculum"):
        for name, spec in config[group]["stages"].items():
            yield f"{group}.stages.{name}", spec


def _positive(config: Config) -> Iterator[tuple[str, Any]]:
    yield from ((key, _at(config, key)) for key in POSITIVE)
    if config["trainer"]["threads"] is not None:
        yield "trainer.threads", config["trainer"]["threads"]
    for where, spec in _stages(config):
        yield f"{where}.steps", spec["steps"]
        yield f"{where}.batch_size", spec["batch_size"]


def _natural(config: Config) -> Iterator[tuple[str, Any]]:
    yield from ((key, _at(config, key)) for key in NATURAL)
    for where, stack in _stacks(config):
        yield from ((f"{where}.{key}", stack[key]) for key in ("width", "layers") if key in stack)
        mixer = stack.get("mixer")
        if isinstance(mixer, dict):
            yield from ((f"{where}.mixer.{key}", mixer[key]) for key in ("heads", "taps") if key in mixer)


def _numbers(config: Config) -> Iterator[tuple[str, Any]]:
    yield from ((key, value) for key in NUMBERS if (value := _at(config, key)) is not None)
    if config["trainer"]["clip"] is not None:
        yield "trainer.clip", config["trainer"]["clip"]
    if (warmup := config["schedule"].get("warmup")) is not None:
        yield "schedule.warmup", warmup
    for where, spec in _stages(config):
        yield f"{where}.lr", spec["lr"]
        yield f"{where}.warmup", spec["warmup"] or 0


def _stacks(config: Config) -> Iterator[tuple[str, Config]]:
    for part in ("encoder", "decoder"):
        stack = config["architecture"][part].get("stack")
        if isinstance(stack, dict):
            yield f"architecture.{part}.stack", stack


def _check_heads(config: Config) -> None:
    for where, stack in _stacks(config):
        mixer = stack.get("mixer")
        heads = mixer.get("heads") if isinstance(mixer, dict) else None
        if heads and stack["width"] % heads:
            raise UserError(
                f"{where}: width={stack['width']} is not divisible by heads={heads};"
                f" set scale.width or {where}.mixer.heads"
            )


def _check_devices(config: Config) -> None:
    devices = config["trainer"]["devices"] * config["trainer"]["nodes"]
    sizes = {"trainer.batch_size": config["trainer"]["batch_size"]}
    sizes |= {f"{where}.batch_size": spec["batch_size"] for where, spec in _stages(config)}
    for key, size in sizes.items():
        if size % devices:
            raise UserError(f"{key}={size} cannot be shared out to {devices} devices: choose a multiple")

"""Values that no composed config may have, found before any work; without torch."""

import re
from collections.abc import Iterator
from typing import Any

from memlab.errors import UserError

Config = dict[str, Any]
CHOICES: dict[str, tuple[Any, ...]] = {
    "dry_run": (False, True),
    "architecture.slots": ("fixed", "variable"),
    "encoder.freeze": (False, True, "blocks"),
    "encoder.untrained": (False, True),
    "trainer.strategy": ("auto", "ddp", "fsdp"),
    "trainer.precision": ("32-true", "bf16-mixed", "bf16-true", "64-true"),
    "trainer.matmul_precision": ("highest", "high", "medium"),
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda"),
    "trainer.compile": (None, True, False),
    "trainer.cache_embeddings": (True, False),
}
# The scale's come first: others are made from them, and the message should have the key that was typed.
POSITIVE = (
    *(
        f"scale.{key}"
        for key in ("width", "encoder_width", "decoder_width", "matched_width", "layers", "encoder_layers", "taps")
    ),
    *(
        f"scale.{key}"
        for key in ("chunks", "chunk_length", "vocab", "batch_size", "encoder_batch_size", "longer", "longest")
    ),
    "architecture.memories",
    "architecture.compression",
    *(f"trainer.{key}" for key in ("batch_size", "accumulate", "devices", "nodes", "log_every")),
    *(f"trainer.{key}" for key in ("validate_every", "checkpoint_every", "validate_windows", "evaluate_windows")),
    "tokenizer.vocab",
)
NATURAL = (
    "seed",
    "scale.heads",
    "trainer.workers",
    "trainer.free_running_windows",
    "trainer.restarts",
    "architecture.detach_every",
    "architecture.causal_skip",
)
CACHED = ("32-true", "bf16-mixed")  # precisions that memories may be kept in
NUMBERS = (
    "scale.lr",
    "scale.warmup",
    "scale.embedding_std",
    "schedule.warmup",
    "optimizer.lr",
    "optimizer.weight_decay",
    "trainer.max_loss",
    "architecture.embedding_std",
)
NATURAL_OR_NULL = ("encoder.skip",)
POSITIVE_OR_NULL = ("trainer.threads", "trainer.train_windows", "architecture.encoder.read_layers")
NUMBERS_OR_NULL = ("trainer.clip",)
NAMED = ("scale", "data", "architecture", "encoder", "curriculum", "objective")
STAGE_KEYS = {"name", "start_from", "model", "objective", "steps", "batch_size", "lr", "warmup"}
LARGEST_SEED = 2**63 - 1  # of torch's generators
_MISSING = object()


def check(config: Config) -> None:
    """Raise UserError for the first value that no composed config may have."""
    _check_shape(config)
    for key, allowed in CHOICES.items():
        value = _at(config, key)
        if value is not _MISSING and not any(value is a or (isinstance(a, str) and value == a) for a in allowed):
            raise UserError(f"{key}={shown(value)}: choose one of {', '.join(map(shown, allowed))}")
    for key, value in _whole(config):
        least, null = (1, key in POSITIVE_OR_NULL) if key in (*POSITIVE, *POSITIVE_OR_NULL) else (0, False)
        _require_whole(key, value, least, null or key in NATURAL_OR_NULL)
    for key, value in _numbers(config):
        _require_number(key, value, key in NUMBERS_OR_NULL)
    _check_stages(config)
    _check_tokenizer(config)
    if config.get("seed", LARGEST_SEED + 1) > LARGEST_SEED:
        raise UserError(f"seed={shown(config.get('seed'))}: choose a seed below 2^63")
    fill = _at(config, "architecture.fill")
    if fill is not _MISSING and (not isinstance(fill, int | float) or isinstance(fill, bool)):
        raise UserError(f"architecture.fill={shown(fill)}: choose a number")
    _check_heads(config)
    _check_devices(config)
    trainer = config["trainer"]
    if trainer["cache_embeddings"] and trainer["precision"] not in CACHED:
        raise UserError(
            "trainer.cache_embeddings=true keeps memories in fp32:"
            f" trainer.precision={trainer['precision']} needs false"
        )


def shown(value: Any) -> str:
    """Return a value as it is typed on a command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _check_shape(config: Config) -> None:
    """Raise UserError where a group or a choice is not what its options are."""
    for group in NAMED:
        _require_mapping(group, config.get(group))
        if not isinstance(config[group].get("name"), str):
            raise UserError(f"the option of {group} has no name: add a line to its file, name: NAME")
    for group in ("data", "tokenizer", "objective", "optimizer", "schedule", "logger"):
        _require_choice(group, config.get(group), group)
    for part in ("encoder", "decoder"):
        _require_choice(f"architecture.{part}", _at(config, f"architecture.{part}"))
    evaluation = config.get("evaluation", {})
    _require_mapping("evaluation", evaluation)
    if evaluation.get("objective") is not None:
        _require_choice("evaluation.objective", evaluation["objective"], "objective")
    for where, other in other_texts(evaluation.get("data")).items():
        _require_choice(where, other, "data")
    _require_mapping("evaluation.measures", evaluation.get("measures"))
    for name, measure in evaluation["measures"].items():
        _require_choice(f"evaluation.measures.{name}", measure, "measure")
    for where, spec in _stages(config):
        _require_mapping(where, spec)
        if STAGE_KEYS - {*spec}:
            raise UserError(f"{where} has no {', '.join(sorted(STAGE_KEYS - {*spec}))}: take an option of conf/stage")
        for key in ("model", "objective"):
            _require_choice(f"{where}.{key}", spec[key], key)
        if not isinstance(spec["objective"].get("name"), str):
            raise UserError(f"the option of {where}.objective has no name: add a line to its file, name: NAME")


def _require_mapping(key: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise UserError(f"{key}={shown(value)}: this is a group of keys; set one of them, {key}.KEY=VALUE")


def _require_choice(key: str, value: Any, group: str | None = None) -> None:
    """Raise UserError unless a value has a `_target_`; `group` has the options for it."""
    if not isinstance(value, dict) or not isinstance(value.get("_target_"), str):
        at = "" if key == group else f"@{key}"
        how = f"choose an option, {group}{at}=OPTION" if group else "it needs a _target_"
        raise UserError(f"{key}={shown(value)} names no class: {how}")


def other_texts(data: Any) -> dict[str, Any]:
    """Return the texts of evaluation.data by their keys: none, one, or several under names of the user's own."""
    if data is None:
        return {}
    if isinstance(data, dict) and "_target_" not in data:
        return {f"evaluation.data.{name}": text for name, text in data.items()}
    return {"evaluation.data": data}


def _at(config: Config, key: str) -> Any:
    """Return the value of a dotted key; _MISSING where a group of the user's own has no such key."""
    value: Any = config
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            return _MISSING
        value = value[name]
    return value


def _stages(config: Config) -> Iterator[tuple[str, Config]]:
    for group in ("encoder", "curriculum"):
        _require_mapping(f"{group}.stages", config[group].get("stages"))
        for name, spec in config[group]["stages"].items():
            yield f"{group}.stages.{name}", spec


def _given(config: Config, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    yield from ((key, value) for key in keys if (value := _at(config, key)) is not _MISSING)


def _whole(config: Config) -> Iterator[tuple[str, Any]]:
    yield from _given(config, (*POSITIVE, *NATURAL, *NATURAL_OR_NULL, *POSITIVE_OR_NULL))
    for name, measure in config["evaluation"]["measures"].items():
        if "windows" in measure:
            yield f"evaluation.measures.{name}.windows", measure["windows"]
    for where, stack in _stacks(config):
        yield from ((f"{where}.{key}", stack[key]) for key in ("width", "layers") if key in stack)
        for at, mixer in _mixers(where, stack):
            yield from ((f"{at}.{key}", mixer[key]) for key in ("heads", "taps") if key in mixer)


def _numbers(config: Config) -> Iterator[tuple[str, Any]]:
    yield from _given(config, (*NUMBERS, *NUMBERS_OR_NULL))


def _check_stages(config: Config) -> None:
    for where, spec in _stages(config):
        name = spec["objective"]["name"] if spec["name"] is None else spec["name"]
        if not re.fullmatch(r"[\w.-]+", str(name)):
            raise UserError(f"{where}.name={name}: it names a folder, so take letters, digits and _ - .")
        for key in ("steps", "batch_size"):
            _require_whole(f"{where}.{key}", spec[key], 1, False)
        _require_number(f"{where}.lr", spec["lr"], False)
        _require_number(f"{where}.warmup", spec["warmup"], True)


def _check_tokenizer(config: Config) -> None:
    """Raise UserError where a pretrained model would be given the token ids of another tokenizer than its own."""
    own = config["tokenizer"].get("files") or {}
    for where, spec in _stages(config):
        for part in ("encoder", "decoder"):
            port = spec["model"].get(part)
            if not isinstance(port, dict) or "weights" not in port:
                continue
            random = part == "encoder" and port.get("untrained") is not None  # vectors of any ids are as good
            if not random and port["weights"]["sha256"] != own.get("sha256"):
                raise UserError(
                    f"{where}.model.{part}: {port['weights']['name']} knows the token ids of its own tokenizer alone:"
                    " take tokenizer=pretrained, and leave pretrained= the same for both"
                )


def _require_whole(key: str, value: Any, least: int, null: bool) -> None:
    if value is None and null:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        more = ", or null" if null else ""
        raise UserError(f"{key}={shown(value)}: choose a whole number of at least {least}{more}")


def _require_number(key: str, value: Any, null: bool) -> None:
    if value is None and null:
        return
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise UserError(f"{key}={shown(value)}: choose a number of at least 0{', or null' if null else ''}")


def _stacks(config: Config) -> Iterator[tuple[str, Config]]:
    for part in ("encoder", "decoder"):
        stack = _at(config, f"architecture.{part}.stack")
        if isinstance(stack, dict):
            yield f"architecture.{part}.stack", stack


def _mixers(where: str, stack: Config) -> Iterator[tuple[str, Config]]:
    """Yield a stack's token mixers: one, or several that take turns from block to block."""
    mixer = stack.get("mixer")
    several = isinstance(mixer, list)
    for number, item in enumerate(mixer if isinstance(mixer, list) else [mixer]):
        if isinstance(item, dict):
            yield f"{where}.mixer{f'.{number}' if several else ''}", item


def _check_heads(config: Config) -> None:
    for where, stack in _stacks(config):
        for at, mixer in _mixers(where, stack):
            heads = mixer.get("heads")
            if heads and "width" in stack and stack["width"] % heads:
                raise UserError(
                    f"{where}: width={stack['width']} is not divisible by heads={heads}; set scale.width or {at}.heads"
                )


def _check_devices(config: Config) -> None:
    devices = config["trainer"]["devices"] * config["trainer"]["nodes"]
    sizes = {"trainer.batch_size": config["trainer"]["batch_size"]}
    sizes |= {f"{where}.batch_size": spec["batch_size"] for where, spec in _stages(config)}
    for key, size in sizes.items():
        if size % devices:
            raise UserError(f"{key}={size} cannot be shared out to {devices} devices: choose a multiple")

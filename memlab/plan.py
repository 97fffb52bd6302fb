"""From a composed config to its chain of stages, validated; without torch.

A `Stage` holds what shapes weights and nothing else: it is what the fingerprint hashes. What may differ between two
runs with the same weights (cadences, hardware, folders, loggers) is in `Job.settings`.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from memlab.data.prepare import data_hash
from memlab.files import read_json
from memlab.fingerprint import fingerprint
from memlab.run_folder import RunFolder

Config = dict[str, Any]
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")
MODELS = ("autoencoder", "causal", "memory")
CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "architecture": {"bridge": ("unroll", "repeat"), "slots": ("fixed", "variable")},
    "trainer": {"precision": PRECISIONS, "matmul_precision": ("highest", "high", "medium")},
}


@dataclass(frozen=True)
class Stage:
    """Everything that shapes a stage's weights, as plain values. `name` names its folder and is not hashed."""

    name: str
    model: Config  # what memlab.build makes a model from
    objective: Config  # _target_ and its parameters
    data: Config  # hash of the prepared tokens, vocabulary
    training: Config  # steps, batch size, optimizer, precision, seed
    start: Config | None  # {"fingerprint", "part"}: the stage whose weights it starts from; part: encoder or all
    freeze_encoder: bool


@dataclass(frozen=True)
class Job:
    """A stage to be finished, with what does not shape its weights. `parent`: the folder its weights start from."""

    stage: Stage
    folder: RunFolder
    parent: Path | None
    settings: Config  # the trainer group: cadences, evaluation, hardware
    config: Config  # the whole composed config

    @property
    def evaluation_settings(self) -> Config:
        return {"windows": self.settings["evaluate_windows"], "data": self.stage.data["hash"]}

    @property
    def done(self) -> bool:
        """Trained, and evaluated as asked."""
        return self.folder.finished and self.folder.read_evaluation()["settings"] == self.evaluation_settings


def plan(composed: DictConfig) -> list[Job]:
    """The chain of stages of one point, in order. Raises ValueError for whatever cannot work, before any work."""
    config = plain(composed)
    _check(config)
    jobs: list[Job] = []
    architecture, encoder = config["architecture"], config["encoder"]
    hash_ = _data_hash(json.dumps(config["data"]), json.dumps(config["tokenizer"]))

    def add(name: str, model: Config, spec: Config, start: tuple[Path, str, str] | None, freeze: bool) -> None:
        objective = {key: value for key, value in spec["objective"].items() if key != "name"}
        stage = Stage(
            name=name,
            model=model,
            objective=objective,
            data={"hash": hash_, "vocab": config["tokenizer"]["vocab"]},
            training=_training(config, spec),
            start=None if start is None else {"fingerprint": start[1], "part": start[2]},
            freeze_encoder=freeze,
        )
        folder = RunFolder(Path(config["runs_dir"]), name, fingerprint(stage))
        jobs.append(Job(stage, folder, None if start is None else start[0], config["trainer"], config))

    source: tuple[Path, str, str] | None = None
    if encoder["pretrain"] is not None:
        pretrain = encoder["pretrain"]
        add(pretrain["name"], _model(config, pretrain["model"]), pretrain, None, False)
        source = (jobs[0].folder.path, jobs[0].folder.fingerprint, "encoder")
    elif encoder["run"] is not None:
        source = _finished_encoder(config, hash_)
    if encoder["freeze"] and source is None:
        raise ValueError("encoder.freeze=true needs encoder.pretrain or encoder.run: random weights are not a memory")

    memory = _model(config, "memory")
    named: dict[str, Job] = {}
    for name, spec in config["curriculum"]["stages"].items():
        start = source
        before = spec.get("init_from")
        if before is not None:
            if before not in named:
                raise ValueError(f"curriculum.stages.{name}.init_from={before}: not an earlier stage {list(named)}")
            start = (named[before].folder.path, named[before].folder.fingerprint, "all")
        add(spec["objective"]["name"], memory, spec, start, encoder["freeze"])
        named[name] = jobs[-1]
    if architecture["compression"] > 1 and encoder["pretrain"] and encoder["pretrain"]["model"] == "causal":
        raise ValueError(
            f"architecture.compression={architecture['compression']}: a causal encoder has not learned to compress;"
            " set it to 1"
        )
    return jobs


def plain(config: DictConfig) -> Config:
    """The composed config as plain values. Raises ValueError where a value that has no default was not given."""
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key} has no default: give it, {error.full_key}=...") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key != "hydra"}


def choices(job: Job) -> Config:
    """What tells the points of a sweep apart in reports."""
    config = job.config
    curriculum = config["curriculum"]["name"]
    objective = config["objective"]["name"] if curriculum == "single" else curriculum
    return {
        "architecture": config["architecture"]["name"],
        "arm": config["arm"] or f"{config['encoder']['name']} {objective}",
        "encoder": config["encoder"]["name"],
        "curriculum": objective,
        "seed": config["seed"],
    }


def point(jobs: list[Job]) -> Config:
    """A point as the report takes it."""
    folders = [job.folder.path for job in jobs]
    return {"choices": choices(jobs[-1]), "folder": folders[-1], "stages": folders}


@lru_cache
def _data_hash(data: str, tokenizer: str) -> str:
    """Read the text once for all points of a sweep that share it."""
    return data_hash(json.loads(data), json.loads(tokenizer))


def _model(config: Config, kind: str) -> Config:
    """What memlab.build needs for a model: only keys that have a say in it, as others must not change fingerprints."""
    architecture, encoder, scale = config["architecture"], config["encoder"], config["scale"]
    if kind not in MODELS:
        raise ValueError(f"encoder.pretrain.model={kind}: choose one of {', '.join(MODELS[:2])}")
    model = {
        "kind": kind,
        "chunk_length": scale["chunk_length"],
        "encoder": architecture["encoder"],
        "embedding_std": architecture["embedding_std"],
    }
    if kind == "causal":
        return model
    model |= {"memories": architecture["memories"], "compression": architecture["compression"]}
    if kind == "autoencoder":
        return model | {"bridge": architecture["bridge"]}
    keys = ("decoder", "slots", "fill")
    model |= {"chunks": scale["chunks"], "skip": encoder["skip"], **{key: architecture[key] for key in keys}}
    return model if encoder["present"] else model | {"encoder": None, "skip": 0, "compression": 1}


def _training(config: Config, spec: Config) -> Config:
    optimizer, trainer = config["optimizer"], config["trainer"]
    return {
        "steps": spec["steps"],
        "seed": config["seed"],
        **{key: trainer[key] for key in ("batch_size", "accumulate", "precision")},
        **{key: optimizer[key] for key in ("lr", "betas", "weight_decay", "warmup", "clip")},
    }


def _finished_encoder(config: Config, data: str) -> tuple[Path, str, str]:
    """The run of encoder.run, if its encoder fits this config."""
    path = Path(config["encoder"]["run"])
    folder = RunFolder.open(path)
    try:
        stage = folder.read_stage()
        stored = read_json(path / "finished.json")["fingerprint"]
    except (OSError, KeyError, TypeError, json.JSONDecodeError, yaml.YAMLError):
        raise ValueError(f"{path}: its config.yaml or finished.json cannot be read; train that stage again") from None
    theirs, ours = stage["model"]["encoder"] or {}, config["architecture"]["encoder"]
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key):
            raise ValueError(
                f"the encoder of {path} has {key}={theirs.get(key)} and architecture.encoder has {key}={ours.get(key)}:"
                f" set architecture.encoder.{key}={theirs.get(key)} (a projection joins another width to the decoder's)"
            )
    for key, mine in (("chunk_length", config["scale"]["chunk_length"]),):
        if stage["model"][key] != mine:
            raise ValueError(f"the encoder of {path} was trained with {key}={stage['model'][key]}, not {mine}")
    if stage["data"]["hash"] != data:
        raise ValueError(
            f"the encoder of {path} was trained on tokens of another text or tokenizer: use its data and vocab"
        )
    return path, stored, "encoder"


def _check(config: Config) -> None:
    """Values that no composed config may have, whatever the point."""
    scale, architecture, trainer, optimizer = (config[k] for k in ("scale", "architecture", "trainer", "optimizer"))
    whole = {
        **{f"scale.{key}": scale[key] for key in ("chunks", "chunk_length", "sequence")},
        **{f"architecture.{key}": architecture[key] for key in ("memories", "compression")},
        **{
            f"trainer.{key}": trainer[key]
            for key in ("batch_size", "accumulate", "devices", "log_every", "validate_every", "checkpoint_every")
        },
        **{f"trainer.{key}": trainer[key] for key in ("validate_windows", "evaluate_windows")},
        "tokenizer.vocab": config["tokenizer"]["vocab"],
        **{f"curriculum.stages.{name}.steps": spec["steps"] for name, spec in config["curriculum"]["stages"].items()},
    }
    if config["encoder"]["pretrain"] is not None:
        whole["encoder.pretrain.steps"] = config["encoder"]["pretrain"]["steps"]
    for key, value in whole.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{key}={value}: choose a whole number of at least 1")
    if not isinstance(config["seed"], int) or config["seed"] < 0:
        raise ValueError(f"seed={config['seed']}: choose a whole number of at least 0")
    numbers = {f"optimizer.{key}": optimizer[key] for key in ("lr", "weight_decay", "warmup")}
    numbers["optimizer.clip"] = 1.0 if optimizer["clip"] is None else optimizer["clip"]
    for key, value in numbers.items():
        if not isinstance(value, int | float) or value < 0:
            raise ValueError(f"{key}={value}: choose a number of at least 0")
    if scale["sequence"] != scale["chunks"] * scale["chunk_length"]:
        raise ValueError(
            f"scale.sequence={scale['sequence']} is not scale.chunks * scale.chunk_length ="
            f" {scale['chunks']} * {scale['chunk_length']} = {scale['chunks'] * scale['chunk_length']}"
        )
    for part in ("encoder", "decoder"):
        stack = architecture[part]
        heads = stack.get("heads")
        if heads and stack["width"] % heads:
            raise ValueError(
                f"architecture.{part}: width={stack['width']} is not divisible by heads={heads};"
                f" set scale.width or architecture.{part}.heads"
            )
    for group, keys in CHOICES.items():
        for key, allowed in keys.items():
            if config[group][key] not in allowed:
                raise ValueError(f"{group}.{key}={config[group][key]}: choose one of {', '.join(allowed)}")

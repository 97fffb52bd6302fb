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
MODELS = ("memory", "autoencoder", "causal", "encoder", "full_context", "recurrent")
CHOICES: dict[str, dict[str, tuple[Any, ...]]] = {
    "architecture": {"bridge": ("unroll", "repeat"), "slots": ("fixed", "variable")},
    "encoder": {"freeze": (False, True, "blocks")},
    "trainer": {
        "precision": ("32-true", "bf16-mixed", "bf16-true", "64-true"),
        "matmul_precision": ("highest", "high", "medium"),
        "accelerator": ("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
        "compile": (None, True, False),
        "cache_embeddings": (True, False),
    },
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
    freeze_encoder: bool | str  # "blocks": all but the token embedding, which is drawn anew


@dataclass(frozen=True)
class _Start:
    """The run whose weights a stage starts from, and which of them: encoder or all."""

    path: Path
    fingerprint: str
    part: str
    skip: int | None = None  # of an encoder that asks for another than the config's


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
    """The chain of stages of one point, in order: those of the encoder, then those of the curriculum.

    Raises ValueError for whatever cannot work, before any work.
    """
    config = plain(composed)
    _check(config)
    architecture, encoder = config["architecture"], config["encoder"]
    hash_ = _data_hash(json.dumps(config["data"]), json.dumps(config["tokenizer"]))
    named: dict[str, Job] = {}
    source = _finished_encoder(config, hash_) if encoder["run"] is not None else None
    skip = encoder["skip"] if source is None or source.skip is None else source.skip
    for group in ("encoder", "curriculum"):
        for name, spec in config[group]["stages"].items():
            before, kind = spec.get("init_from"), spec["model"]
            start = source if group == "curriculum" else None
            if before is not None:
                if before not in named:
                    raise ValueError(f"{group}.stages.{name}.init_from={before}: not an earlier stage {list(named)}")
                parent = named[before]
                start = _start(parent, "all" if parent.stage.model["kind"] == kind else "encoder")
            if name in named:
                raise ValueError(f"{group}.stages.{name}: the encoder has a stage of that name, choose another")
            stage = Stage(
                name=name if group == "encoder" else spec.get("name") or spec["objective"]["name"],
                model=_model(config, kind, skip if group == "curriculum" else 0),
                objective={key: value for key, value in spec["objective"].items() if key != "name"},
                data={"hash": hash_, "vocab": config["tokenizer"]["vocab"]},
                training=_training(config, spec),
                start=None if start is None else {"fingerprint": start.fingerprint, "part": start.part},
                freeze_encoder=encoder["freeze"] if group == "curriculum" else False,
            )
            folder = RunFolder(Path(config["runs_dir"]), stage.name, fingerprint(stage))
            named[name] = Job(stage, folder, None if start is None else start.path, config["trainer"], config)
        if group == "encoder" and named:
            source = _start(list(named.values())[-1], "encoder")
    if encoder["freeze"] and source is None and not encoder["untrained"]:
        raise ValueError(
            "encoder.freeze needs encoder.stages or encoder.run; for random weights on purpose take encoder=untrained"
        )
    if architecture["compression"] > 1 and [job.stage.model["kind"] for job in named.values()][:1] == ["causal"]:
        raise ValueError(
            f"architecture.compression={architecture['compression']}: a causal encoder has not learned to compress;"
            " set it to 1"
        )
    if not named:
        raise ValueError("encoder.stages and curriculum.stages are both empty: there is nothing to train")
    return list(named.values())


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
    return {
        "choices": choices(jobs[-1]),
        "folder": folders[-1],
        "stages": folders,
        "encoder_stages": len(jobs[-1].config["encoder"]["stages"]),
        "evaluation": jobs[-1].evaluation_settings,
    }


@lru_cache
def _data_hash(data: str, tokenizer: str) -> str:
    """Read the text once for all points of a sweep that share it."""
    return data_hash(json.loads(data), json.loads(tokenizer))


def _start(job: Job, part: str) -> _Start:
    return _Start(job.folder.path, job.folder.fingerprint, part)


def _model(config: Config, kind: str, skip: int) -> Config:
    """What memlab.build needs for a model: only keys that have a say in it, as others must not change fingerprints."""
    architecture, encoder, scale = config["architecture"], config["encoder"], config["scale"]
    if kind not in MODELS:
        raise ValueError(f"model={kind} of a stage: choose one of {', '.join(MODELS)}")
    model = {"kind": kind, "chunk_length": scale["chunk_length"], "embedding_std": architecture["embedding_std"]}
    if kind in ("full_context", "recurrent"):
        model |= {"chunks": scale["chunks"], "decoder": architecture["decoder"]}
        return model | ({"detach_every": architecture["detach_every"]} if kind == "recurrent" else {})
    model["encoder"] = architecture["encoder"]
    if kind == "causal":
        return model
    model |= {"memories": architecture["memories"], "compression": architecture["compression"]}
    if skip and kind != "memory":
        model["skip"] = skip
    if kind == "encoder":
        return model
    if kind == "autoencoder":
        return model | {"bridge": architecture["bridge"]}
    keys = ("decoder", "slots", "fill")
    model |= {"chunks": scale["chunks"], "skip": skip, **{key: architecture[key] for key in keys}}
    return model if encoder["present"] else model | {"encoder": None, "skip": 0, "compression": 1}


def _training(config: Config, spec: Config) -> Config:
    optimizer, trainer = config["optimizer"], config["trainer"]
    return {
        "steps": spec["steps"],
        "seed": config["seed"],
        "batch_size": spec.get("batch_size") or trainer["batch_size"],
        **{key: trainer[key] for key in ("accumulate", "precision")},
        **{key: optimizer[key] for key in ("lr", "betas", "weight_decay", "warmup", "clip")},
    }


def _finished_encoder(config: Config, data: str) -> _Start:
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
    mine = {"chunk_length": config["scale"]["chunk_length"]} | {
        key: config["architecture"][key] for key in ("memories", "compression") if key in stage["model"]
    }
    for key, value in mine.items():
        if stage["model"][key] != value:
            raise ValueError(f"the encoder of {path} was trained with {key}={stage['model'][key]}, not {value}")
    if stage["data"]["hash"] != data:
        raise ValueError(
            f"the encoder of {path} was trained on tokens of another text or tokenizer: use its data and vocab"
        )
    # A finished causal mixer, too, is read in front of the row that was never trained.
    skip = config["architecture"]["causal_skip"] if stage["model"]["kind"] == "causal" else None
    return _Start(path, stored, "encoder", skip)


def _check(config: Config) -> None:
    """Values that no composed config may have, whatever the point. Raises ValueError for the first one found."""
    _check_numbers(config)
    scale, architecture = config["scale"], config["architecture"]
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
                raise ValueError(f"{group}.{key}={config[group][key]}: choose one of {', '.join(map(str, allowed))}")
    if config["trainer"]["devices"] != 1:
        raise ValueError(f"trainer.devices={config['trainer']['devices']}: one device a run, for now")


def _check_numbers(config: Config) -> None:
    scale, architecture, trainer = config["scale"], config["architecture"], config["trainer"]
    positive = {
        **{f"scale.{key}": scale[key] for key in ("chunks", "chunk_length", "sequence")},
        **{f"architecture.{key}": architecture[key] for key in ("memories", "compression")},
        **{
            f"trainer.{key}": trainer[key]
            for key in ("batch_size", "accumulate", "log_every", "validate_every", "checkpoint_every")
        },
        **{f"trainer.{key}": trainer[key] for key in ("validate_windows", "evaluate_windows")},
        "trainer.threads": 1 if trainer["threads"] is None else trainer["threads"],
        "tokenizer.vocab": config["tokenizer"]["vocab"],
    }
    for group in ("encoder", "curriculum"):
        for name, spec in config[group]["stages"].items():
            positive[f"{group}.stages.{name}.steps"] = spec["steps"]
            positive[f"{group}.stages.{name}.batch_size"] = spec.get("batch_size") or 1
    natural = {"seed": config["seed"], "trainer.workers": trainer["workers"], "encoder.skip": config["encoder"]["skip"]}
    natural["architecture.detach_every"] = architecture["detach_every"]
    for part in ("encoder", "decoder"):
        for key in ("width", "layers", "heads", "taps"):
            if architecture[part].get(key) is not None:
                natural[f"architecture.{part}.{key}"] = architecture[part][key]
    for least, values in ((1, positive), (0, natural)):
        for key, value in values.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{key}={value}: choose a whole number of at least {least}")
    optimizer = config["optimizer"]
    numbers = {f"optimizer.{key}": optimizer[key] for key in ("lr", "weight_decay", "warmup")}
    numbers["optimizer.clip"] = 1.0 if optimizer["clip"] is None else optimizer["clip"]
    numbers["architecture.embedding_std"] = architecture["embedding_std"]
    numbers["data.val"] = config["data"]["val"]
    betas = optimizer["betas"]
    if not isinstance(betas, list) or len(betas) != 2:
        raise ValueError(f"optimizer.betas={betas}: give two numbers, optimizer.betas=[0.9,0.999]")
    numbers |= {"optimizer.betas[0]": betas[0], "optimizer.betas[1]": betas[1]}
    for key, value in numbers.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{key}={value}: choose a number of at least 0")
    if not isinstance(architecture["fill"], int | float):
        raise ValueError(f"architecture.fill={architecture['fill']}: choose a number")

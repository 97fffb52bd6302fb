"""From a composed config to its chain of stages, validated; without torch.

A `Stage` holds what shapes weights and nothing else: it is what the fingerprint hashes. What may differ between two
runs with the same weights (cadences, hardware, folders, loggers) is in `Job.settings`.
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from memlab.config.checks import check
from memlab.config.fingerprint import digest, fingerprint
from memlab.data.prepare import data_hash, held_out_hash
from memlab.errors import UserError
from memlab.storage.files import read_json
from memlab.storage.run_folder import RunFolder

Config = dict[str, Any]
WITHOUT_ENCODER = ("full_context", "recurrent")
MODELS = ("memory", "autoencoder", "causal", "encoder", *WITHOUT_ENCODER)


@dataclass(frozen=True)
class Stage:
    """Everything that shapes a stage's weights, as plain values. `name` names its folder and is not hashed."""

    name: str  # one for all stages that can be equal, whichever group asks for them
    model: Config  # what memlab.training.build makes a model from
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
class Evaluation:
    """What a finished stage is measured on, and by which objective: its own, and others that the config asks for."""

    objective: Config  # _target_ and its parameters
    data: Config  # the group `data` of the text
    settings: Config  # what its file says that it was made with
    other_objective: bool
    other_text: bool

    @property
    def file(self) -> str:
        """Its name in the run folder: evaluation.json is the stage's own."""
        more = f"-{digest(self.settings)}" if self.other_objective or self.other_text else ""
        return f"evaluation{more}.json"

    @property
    def prefix(self) -> str:
        """Of its metrics in reports: the text's name, if it is another."""
        return f"{self.data['name']}/" if self.other_text else ""


@dataclass(frozen=True)
class Job:
    """A stage to be finished, with what does not shape its weights. `parent`: the folder its weights start from."""

    stage: Stage
    folder: RunFolder
    parent: Path | None
    settings: Config  # the trainer group: cadences, evaluation, hardware
    config: Config  # the whole composed config
    evaluations: tuple[Evaluation, ...]  # its own comes first

    @property
    def missing(self) -> list[Evaluation]:
        """Evaluations that are not there yet, or were made otherwise than asked."""
        return [e for e in self.evaluations if self.folder.evaluation_settings(e.file) != e.settings]

    @property
    def done(self) -> bool:
        """Trained, and evaluated as asked."""
        return self.folder.finished and not self.missing


def plan(composed: DictConfig) -> list[Job]:
    """The chain of stages of one point, in order: those of the encoder, then those of the curriculum.

    Raises UserError for whatever cannot work, before any work.
    """
    config = plain(composed)
    check(config)
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
                    raise UserError(f"{group}.stages.{name}.init_from={before}: not an earlier stage {list(named)}")
                parent = named[before]
                start = _start(parent, "all" if parent.stage.model["kind"] == kind else "encoder")
            if kind in WITHOUT_ENCODER and (source is not None or encoder["freeze"]):
                raise UserError(f"{group}.stages.{name}.model={kind} has no encoder: take encoder=none")
            if name in named:
                raise UserError(f"{group}.stages.{name}: the encoder has a stage of that name, choose another")
            stage = Stage(
                name=spec.get("name") or (name if group == "encoder" else spec["objective"]["name"]),
                model=_model(config, kind, skip if group == "curriculum" else 0),
                objective=_objective(spec["objective"]),
                data={"hash": hash_, "vocab": config["tokenizer"]["vocab"]},
                training=_training(config, spec),
                start=None if start is None else {"fingerprint": start.fingerprint, "part": start.part},
                freeze_encoder=encoder["freeze"] if group == "curriculum" else False,
            )
            folder = RunFolder(Path(config["runs_dir"]), stage.name, fingerprint(stage))
            own = (_evaluation(config, stage.objective, stage, hash_),)
            named[name] = Job(stage, folder, None if start is None else start.path, config["trainer"], config, own)
        if group == "encoder" and named:
            source = _start(list(named.values())[-1], "encoder")
    if encoder["freeze"] and source is None and not encoder["untrained"]:
        raise UserError(
            "encoder.freeze needs encoder.stages or encoder.run; for random weights on purpose take encoder=untrained"
        )
    if architecture["compression"] > 1 and [job.stage.model["kind"] for job in named.values()][:1] == ["causal"]:
        raise UserError(
            f"architecture.compression={architecture['compression']}: a causal encoder has not learned to compress;"
            " set it to 1"
        )
    if not named:
        raise UserError("encoder.stages and curriculum.stages are both empty: there is nothing to train")
    *before_last, last = named.values()
    return [*before_last, replace(last, evaluations=_evaluations(config, last.stage, hash_))]


def plain(config: DictConfig) -> Config:
    """The composed config as plain values. Raises UserError where a value that has no default was not given."""
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no default: give it, {error.full_key}=...") from None
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
    evaluations = [{"file": e.file, "prefix": e.prefix, "settings": e.settings} for e in jobs[-1].evaluations]
    return {
        "choices": choices(jobs[-1]),
        "folder": folders[-1],
        "stages": folders,
        "encoder_stages": len(jobs[-1].config["encoder"]["stages"]),
        "evaluations": evaluations,
    }


@lru_cache
def _data_hash(data: str, tokenizer: str) -> str:
    """Read the text once for all points of a sweep that share it."""
    return data_hash(json.loads(data), json.loads(tokenizer))


@lru_cache
def _held_out_hash(data: str, tokenizer_of: str) -> str:
    return held_out_hash(json.loads(data), tokenizer_of)


def _start(job: Job, part: str) -> _Start:
    return _Start(job.folder.path, job.folder.fingerprint, part)


def _model(config: Config, kind: str, skip: int) -> Config:
    """What memlab.training.build needs: only the keys that affect this kind of model, so that others change no hash."""
    architecture, encoder, scale = config["architecture"], config["encoder"], config["scale"]
    if kind not in MODELS:
        raise UserError(f"model={kind} of a stage: choose one of {', '.join(MODELS)}")
    model = {"kind": kind, "chunk_length": scale["chunk_length"], "embedding_std": architecture["embedding_std"]}
    if kind in WITHOUT_ENCODER:
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


def _objective(spec: Config) -> Config:
    return {key: value for key, value in spec.items() if key != "name"}


def _evaluations(config: Config, stage: Stage, hash_: str) -> tuple[Evaluation, ...]:
    """Of a point's last stage: by its own objective and the other one asked for, on its own text and the other."""
    objectives, texts = [stage.objective], [hash_]
    if config["evaluation"]["objective"] is not None:
        objectives.append(_objective(config["evaluation"]["objective"]))
    if config["evaluation"]["data"] is not None:
        texts.append(_held_out_hash(json.dumps(config["evaluation"]["data"]), hash_))
    found = [_evaluation(config, objective, stage, text) for text in texts for objective in objectives]
    return tuple(e for place, e in enumerate(found) if e.settings not in [before.settings for before in found[:place]])


def _evaluation(config: Config, objective: Config, stage: Stage, text: str) -> Evaluation:
    trainer, own = config["trainer"], text == stage.data["hash"]
    return Evaluation(
        objective=objective,
        data=config["data"] if own else config["evaluation"]["data"],
        settings={
            "windows": trainer["evaluate_windows"],
            "free_running_windows": trainer["free_running_windows"],
            "data": text,
            "objective": objective,
        },
        other_objective=objective != stage.objective,
        other_text=not own,
    )


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
        raise UserError(f"{path}: its config.yaml or finished.json cannot be read; train that stage again") from None
    theirs, ours = stage["model"]["encoder"] or {}, config["architecture"]["encoder"]
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key):
            raise UserError(
                f"the encoder of {path} has {key}={theirs.get(key)} and architecture.encoder has {key}={ours.get(key)}:"
                f" set architecture.encoder.{key}={theirs.get(key)} (a projection joins another width to the decoder's)"
            )
    mine = {"chunk_length": config["scale"]["chunk_length"]} | {
        key: config["architecture"][key] for key in ("memories", "compression") if key in stage["model"]
    }
    for key, value in mine.items():
        if stage["model"][key] != value:
            raise UserError(f"the encoder of {path} was trained with {key}={stage['model'][key]}, not {value}")
    if stage["data"]["hash"] != data:
        raise UserError(
            f"the encoder of {path} was trained on tokens of another text or tokenizer: use its data and vocab"
        )
    # A finished causal mixer, too, is read in front of the row that was never trained.
    skip = config["architecture"]["causal_skip"] if stage["model"]["kind"] == "causal" else None
    return _Start(path, stored, "encoder", skip)

"""From a composed config to its chain of stages, validated; without torch."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from memlab.config.checks import check, other_texts
from memlab.config.instantiate import build
from memlab.config.stage import Chain, Config, Evaluation, Job, Stage
from memlab.data import data_hash, held_out_hash
from memlab.errors import UserError
from memlab.storage.run_folder import RunFolder


@dataclass(frozen=True)
class _Source:
    """A stage whose weights another stage starts from."""

    path: Path
    fingerprint: str
    place: int
    model: Config
    skip: int | None = None  # positions left out where a finished causal model is read

    @property
    def has_encoder(self) -> bool:
        """Whether the stage's weights hold an encoder; a causal model's decoder becomes one."""
        return self.model.get("encoder") is not None or "encoder" not in self.model


def plan_all(composed: Iterable[DictConfig]) -> list[Chain]:
    """Return the chain of every point of a command. Raises UserError as `plan` does."""
    # A point that is asked for twice is one point.
    chains = list({(chain.label, chain.jobs[-1].folder.path): chain for chain in map(plan, composed)}.values())
    arms: dict[Path, dict[str, None]] = {}
    for chain in chains:
        for job in chain.jobs:
            arms.setdefault(job.folder.path, {})[chain.choices["arm"]] = None
    return [
        replace(chain, jobs=tuple(replace(job, asked_by=tuple(arms[job.folder.path])) for job in chain.jobs))
        for chain in chains
    ]


def plan(composed: DictConfig) -> Chain:
    """Return the chain of stages of one point: those of the encoder, then those of the curriculum.

    Raises UserError for whatever cannot work, before any work.
    """
    config = plain(composed)
    check(config)
    tokenizer = _tokenizer(json.dumps(config["tokenizer"]))
    data = {
        "hash": _data_hash(json.dumps(config["data"]), json.dumps(config["tokenizer"])),
        "vocab": tokenizer.vocab,
        "blank": tokenizer.blank,
        "delimiter": tokenizer.delimiter,
    }
    encoder_jobs = list(_jobs(config, "encoder", data, None))
    finished = _finished_run(config, data)
    source = _source_of(encoder_jobs[-1]) if encoder_jobs else finished
    _require_encoder(config, source)
    jobs = [*encoder_jobs, *_jobs(config, "curriculum", data, source)]
    if not jobs:
        raise UserError("encoder.stages and curriculum.stages are both empty: there is nothing to train")
    if len({job.folder.path for job in jobs}) < len(jobs):
        raise UserError("two stages of the chain are the same: change one of them")
    jobs[-1] = replace(jobs[-1], evaluations=tuple(_all_evaluations(config, jobs[-1].stage)))
    return Chain(tuple(jobs), _choices(config), len(encoder_jobs))


def plain(config: DictConfig) -> Config:
    """Return the composed config as plain values. Raises UserError where a value without a default was not given."""
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no default: give it, {error.full_key}=...") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key != "hydra"}


def _jobs(config: Config, group: str, data: Config, source: _Source | None) -> Iterator[Job]:
    """Yield the stages of a group in order. A stage without `start_from` starts from `source`'s encoder."""
    earlier: dict[str, _Source] = {}
    for name, spec in config[group]["stages"].items():
        where, before = f"{group}.stages.{name}", spec["start_from"]
        if before is not None and before not in earlier:
            raise UserError(f"{where}.start_from={before}: not an earlier stage of {group}.stages {list(earlier)}")
        origin = source if before is None else earlier[before]
        model = _model(config, spec["model"], origin)
        stage = Stage(
            name=spec["name"] or spec["objective"]["name"],
            model=model,
            objective=_spec(spec["objective"]),
            data=data,
            training=_training(config, spec),
            start=_start(where, model, origin, goes_on=before is not None),
            freeze_encoder=_freeze(config, where, model) if group == "curriculum" else False,
            place=0 if origin is None else origin.place + 1,
        )
        folder = RunFolder(Path(config["runs_dir"]), stage.name, stage.fingerprint)
        own = tuple(_evaluations(config, stage, stage.objective, data["hash"], config["data"]))
        job = Job(stage, folder, None if origin is None else origin.path, config, own)
        earlier[name] = _source_of(job)
        yield job


def _source_of(job: Job) -> _Source:
    return _Source(job.folder.path, job.folder.fingerprint, job.stage.place, job.stage.model)


def _start(where: str, model: Config, origin: _Source | None, *, goes_on: bool) -> Config | None:
    """Return whose weights a stage starts from, and which of them: all, encoder or decoder.

    `goes_on`: the stage goes on with an earlier one of its group; otherwise it only takes over the encoder.
    """
    if origin is None:
        return None
    part, reads = "encoder", model.get("encoder") is not None
    if goes_on and model["_target_"] == origin.model["_target_"]:
        part = "all" if origin.has_encoder == reads or "encoder" not in model else "decoder"
    if part == "decoder" and reads:
        raise UserError(f"{where}.start_from: {origin.path.name} has no encoder, this stage's model needs one")
    if part == "encoder" and not origin.has_encoder:
        raise UserError(f"{where}.start_from: {origin.path.name} has no encoder to start from")
    if part == "encoder" and not reads:
        raise UserError(f"{where}.model has no encoder that could start from {origin.path.name}: take encoder=none")
    return {"fingerprint": origin.fingerprint, "part": part}


def _freeze(config: Config, where: str, model: Config) -> bool | str:
    freeze: bool | str = config["encoder"]["freeze"]
    if freeze and "encoder" not in model:
        raise UserError(f"{where}.model has no encoder to freeze: take encoder=none")
    return freeze if model.get("encoder") is not None else False


def _model(config: Config, spec: Config, source: _Source | None) -> Config:
    """Return a stage's model. The encoder of a finished run (encoder.run) comes with its own shape."""
    adopted = config["encoder"]["run"] is not None and source is not None and spec.get("encoder") is not None
    return {**spec, "encoder": _encoder_of(config, source)} if adopted and source is not None else spec


def _encoder_of(config: Config, source: _Source) -> Config:
    """Return what makes memories out of a finished model's weights."""
    ours, model = config["architecture"]["encoder"], source.model
    if model.get("encoder") is not None:
        encoder: Config = {**model["encoder"]}
        for key in ("memories", "compression"):
            asked, there = config["architecture"][key], encoder.get(key, 1)
            if there != asked and (key == "memories" or asked != 1):
                raise UserError(f"the encoder of {source.path} has {key}={there}: set architecture.{key}={there}")
        if ours.get("skip") is not None:
            encoder["skip"] = ours["skip"]
        return encoder
    if "encoder" in model or model.get("chunks") != 1 or "decoder" not in model:
        raise UserError(
            f"{source.path} has no encoder of single chunks: choose the run of an autoencoder, of a memory model, of a"
            " causal encoder or of a retrieval encoder"
        )
    decoder = model["decoder"]
    if "stack" not in decoder:
        raise UserError(f"{source.path}: its decoder has no stack that could make memories")
    return {
        **ours,
        "stack": decoder["stack"],
        "embedding_std": decoder.get("embedding_std", config["architecture"]["embedding_std"]),
        "skip": source.skip if ours.get("skip") is None else ours["skip"],
    }


def _require_encoder(config: Config, source: _Source | None) -> None:
    encoder = config["encoder"]
    pretrained = "weights" in (encoder["module"] or {})  # of files that others have trained
    if encoder["freeze"] and source is None and not (encoder["untrained"] or pretrained):
        raise UserError(
            "encoder.freeze needs a trained encoder: take an option of encoder that has stages, or give the folder of a"
            " finished run, encoder.run=FOLDER; for random weights on purpose take encoder=untrained"
        )
    compression = config["architecture"]["compression"]
    if compression > 1 and source is not None and "encoder" not in source.model:
        raise UserError(
            f"architecture.compression={compression}: a causal encoder has not learned to compress; set it to 1"
        )


def _finished_run(config: Config, data: Config) -> _Source | None:
    """Return the run of encoder.run. Raises UserError unless its encoder can be used here."""
    if config["encoder"]["run"] is None:
        return None
    if config["encoder"]["stages"]:
        raise UserError("encoder.run and encoder.stages: take encoder=from_run, which has no stages")
    folder = RunFolder.open(Path(str(config["encoder"]["run"])).expanduser())
    try:
        stage, fingerprint = Stage.read(folder), folder.read_finished()["fingerprint"]
        skip = folder.read_config()["config"]["architecture"]["causal_skip"]
    except (OSError, KeyError, TypeError, json.JSONDecodeError, yaml.YAMLError):
        raise UserError(f"{folder.path}: config.yaml or finished.json cannot be read; train that stage again") from None
    length = config["scale"]["chunk_length"]
    if stage.model["length"] != length:
        raise UserError(
            f"the encoder of {folder.path} reads chunks of {stage.model['length']} tokens, not {length}:"
            f" set scale.chunk_length={stage.model['length']}"
        )
    if stage.data["hash"] != data["hash"]:
        raise UserError(
            f"the encoder of {folder.path} was trained on tokens of another text or tokenizer: use its data and vocab"
        )
    return _Source(folder.path, fingerprint, stage.place, stage.model, skip)


def _spec(option: Config) -> Config:
    """Return a group's option without its `name`, which is for people."""
    return {key: value for key, value in option.items() if key != "name"}


def _training(config: Config, spec: Config) -> Config:
    trainer, schedule = config["trainer"], _spec(config["schedule"])
    if "warmup" in schedule and spec["warmup"] is not None:
        schedule["warmup"] = spec["warmup"]
    return {
        "steps": spec["steps"],
        "seed": config["seed"],
        "batch_size": spec["batch_size"],
        **{key: trainer[key] for key in ("accumulate", "precision", "clip")},
        "windows": trainer["train_windows"],
        "optimizer": {**_spec(config["optimizer"]), "lr": spec["lr"]},
        "schedule": schedule,
    }


def _all_evaluations(config: Config, stage: Stage) -> Iterator[Evaluation]:
    """Yield those of a point's last stage: by its own objective and the other one, on its own text and the others."""
    objectives, texts = [stage.objective], [(stage.data["hash"], config["data"])]
    if config["evaluation"]["objective"] is not None:
        objectives.append(_spec(config["evaluation"]["objective"]))
    for other in other_texts(config["evaluation"]["data"]).values():
        texts.append((_held_out_hash(json.dumps(other), stage.data["hash"]), other))
    seen = []
    for hash_, text in texts:
        for objective in objectives:
            if (hash_, objective) not in seen:
                seen.append((hash_, objective))
                yield from _evaluations(config, stage, objective, hash_, text)


def _evaluations(config: Config, stage: Stage, objective: Config, hash_: str, text: Config) -> Iterator[Evaluation]:
    """Yield one evaluation per measure."""
    for name, measure in config["evaluation"]["measures"].items():
        settings = {"measure": measure, "objective": objective, "data": hash_, "window": stage.layout}
        yield Evaluation(name, settings, text, objective == stage.objective, hash_ == stage.data["hash"])


def _choices(config: Config) -> Config:
    """Return what tells the points of a sweep apart in reports."""
    curriculum = config["curriculum"]["name"]
    objective = config["objective"]["name"] if curriculum == "single" else curriculum
    return {
        "architecture": config["architecture"]["name"],
        "arm": config["arm"] or f"{config['encoder']['name']} {objective}",
        "encoder": config["encoder"]["name"],
        "curriculum": objective,
        "seed": config["seed"],
    }


@lru_cache
def _tokenizer(spec: str) -> Any:
    return build(_spec(json.loads(spec)))


@lru_cache
def _data_hash(data: str, tokenizer: str) -> str:
    """Read the text once for all points of a command that share it."""
    return data_hash(build(json.loads(data)), _tokenizer(tokenizer))


@lru_cache
def _held_out_hash(data: str, tokenizer_of: str) -> str:
    return held_out_hash(build(json.loads(data)), tokenizer_of)

"""One stage, trained from its last checkpoint, or from the start, to the weights in its run folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from memlab.config.instantiate import build
from memlab.config.stage import Job
from memlab.data import Prepared, prepare
from memlab.data.module import WindowDataModule
from memlab.models import LanguageModel
from memlab.objectives import Objective
from memlab.processes import ranks
from memlab.processes.signals import signals
from memlab.progress import Bars
from memlab.storage.files import replacing, write_json
from memlab.storage.lock import Lock
from memlab.storage.provenance import forget_peak, origin, peak_memory
from memlab.training.build import build_stage, layout_of, start_from
from memlab.training.busy import MindOthers
from memlab.training.callbacks import Metrics, ShowProgress
from memlab.training.checkpoint import Checkpoints, newest_checkpoint
from memlab.training.estimate import Workload, flops_per_step
from memlab.training.guard import StopAtDivergence
from memlab.training.loggers import Loggers
from memlab.training.memory_cache import known_memories
from memlab.training.module import Clock, StageModule
from memlab.training.reconstructions import Reconstructions
from memlab.training.trainer import make_trainer, speed_up


def train_stage(job: Job, loggers: Loggers, lock: Lock | None, workload: Workload | None) -> None:
    """Train a stage on all ranks; weights and provenance are in its run folder afterwards.

    lock: the folder's, held by rank 0; training stops if another process takes it over.
    Raises DivergedError, LockLostError, UserError; memlab.processes.signals.Stopped after a signal and a checkpoint.
    """
    stage, folder, settings, training = job.stage, job.folder, job.settings, job.stage.training
    forget_peak()
    model, objective = build_stage(stage)
    if stage.start is not None:
        assert job.parent is not None
        start_from(model, stage, job.parent / folder.weights.name)
    own = model.saved_names()  # now: FSDP renames modules, and all ranks together would have to ask it for weights
    prepared = prepared_of(job)

    found = newest_checkpoint(folder) if ranks.is_first() else None
    checkpoint, step = ranks.agreed(found or (None, 0))
    if ranks.is_first():
        folder.write_config(asdict(stage), job.config, job.asked_by)
        prepared.export(folder.path)
        folder.truncate_metrics(step)

    data = _data(job, objective, prepared, first=step * training["accumulate"])
    module = _module(job, model, objective, data)
    speed_up(model, settings)
    flops = flops_per_step(stage)
    tokens_per_step = training["batch_size"] * training["accumulate"] * objective.window(layout_of(stage))
    metrics = Metrics(folder, settings["log_every"], prepared.vocab, tokens_per_step, loggers.log, training["clip"])
    texts = Reconstructions(folder, prepared, training["steps"], loggers.log_reconstructions)
    guard = StopAtDivergence(folder, data.train_set, module.clock, settings["log_every"], settings["max_loss"])
    checkpoints = Checkpoints(folder, settings["checkpoint_every"], guard, module.clock, lock)
    loggers.begin(model)
    with Bars() as bars, signals.deferred():
        stage_bar = bars.bar(folder.path.name, training["steps"], done=step)
        whole = None if workload is None else workload.resume(bars, step * flops)
        progress = ShowProgress(metrics, stage_bar, whole, flops)
        trainer = make_trainer(job, [checkpoints, texts, metrics, guard, progress, MindOthers()])
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        assert trainer.global_step == training["steps"], "training stopped early"
        weights = trainer.strategy.lightning_module_state_dict()  # of all ranks together
        if ranks.is_first():
            _write_provenance(job, metrics, flops)
            _save(weights, own, folder.weights)  # last: weights mean that training is over
        if workload is not None:
            workload.done += (training["steps"] - step) * flops


def prepared_of(job: Job) -> Prepared:
    """Return the stage's text in tokens, prepared now unless that was done before."""
    config = job.config
    data, tokenizer = build(config["data"]), build(config["tokenizer"])
    return prepare(data, tokenizer, Path(config["runs_dir"]) / "data", job.stage.data["hash"])


def _data(job: Job, objective: Objective, prepared: Prepared, first: int) -> WindowDataModule:
    """Return the stage's batches, from number `first` on."""
    training, settings = job.stage.training, job.settings
    return WindowDataModule(
        prepared,
        window=objective.window(layout_of(job.stage)),
        batch_size=training["batch_size"],
        seed=training["seed"],
        place=job.stage.place,
        start_batch=first,
        total_batches=training["steps"] * training["accumulate"],
        train_windows=training["windows"],
        val_windows=settings["validate_windows"],
        workers=settings["workers"],
        pin_memory=torch.cuda.is_available(),
        # FSDP's ranks compute everything together: each is given every held-out batch, and rank 0 counts them.
        share=(0, 1) if settings["strategy"] == "fsdp" else (ranks.rank(), ranks.world()),
    )


def _module(job: Job, model: LanguageModel, objective: Objective, data: WindowDataModule) -> StageModule:
    stage, training = job.stage, job.stage.training
    return StageModule(
        model,
        objective,
        layout=layout_of(stage),
        steps=training["steps"],
        seed=training["seed"],
        place=stage.place,
        optimizer=build(training["optimizer"]),
        schedule=build(training["schedule"]),
        clock=Clock(data.train_set.start),
        known_memories=known_memories(job, model, data.train_set) if job.settings["cache_embeddings"] else None,
    )


def _save(state: dict[str, Any], own: set[str], path: Path) -> None:
    """Write the weights of a LightningModule's state dict that are the model's own. The file is whole or not there."""
    weights = {name.removeprefix("model."): tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    written: dict[str, Any] = {}
    for name in sorted(own):
        # The format has no two names for one tensor, so a tied weight is written twice.
        tied = any(weights[name].data_ptr() == tensor.data_ptr() for tensor in written.values())
        written[name] = weights[name].clone() if tied else weights[name]
    with replacing(path) as temporary:
        save_file(written, temporary)


def _write_provenance(job: Job, metrics: Metrics, flops_per_step: float) -> None:
    steps = job.stage.training["steps"]
    write_json(
        job.folder.provenance,
        {
            **origin(),
            "threads": torch.get_num_threads(),
            "seed": job.stage.training["seed"],
            "steps": steps,
            "tokens": steps * metrics.tokens_per_step,
            "seconds": round(metrics.seconds, 2),
            "flops": steps * flops_per_step,
            "peak_memory": peak_memory(),
        },
    )

"""A chain of stages to finished run folders: reuse what is finished, resume what was broken off, train the rest."""

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from memlab.config.plan import Evaluation, Job
from memlab.data.module import HeldOutBatches, loader_of
from memlab.data.prepare import Prepared, prepare, prepare_held_out
from memlab.errors import explain
from memlab.objectives import Objective
from memlab.processes import ranks
from memlab.processes.cpu import prepare_cpu
from memlab.processes.signals import signals
from memlab.progress import Bars, console, duration
from memlab.storage.files import write_atomic, write_json
from memlab.storage.lock import Lock, LockLostError, locked
from memlab.storage.provenance import commit, hardware, peak_memory, versions
from memlab.training.build import build_objective, build_stage, chunks_of, load_weights
from memlab.training.callbacks import Metrics, ShowProgress
from memlab.training.checkpoint import Checkpoints, newest_checkpoint
from memlab.training.estimate import Workload, flops_per_step
from memlab.training.evaluate import SAMPLES, evaluate, parameter_counts, reconstructions, unnested
from memlab.training.guard import DivergedError, StopAtDivergence
from memlab.training.loggers import close_loggers, log_evaluation, make_loggers
from memlab.training.module import StageModule
from memlab.training.trainer import (
    data_of,
    evaluator_of,
    first_module,
    module_of,
    on_gpu,
    speed_up,
    tokens_per_step,
    trainer_of,
)


class BusyError(Exception):
    """Another process works on a stage that is needed next."""


def run_chain(jobs: list[Job], workload: Workload, wait: bool = True) -> None:
    """Finishes every stage, in order. What was finished before an error stays usable.

    A stage that another process works on is waited for, or raises BusyError if not to `wait`. A signal that ends the
    command raises memlab.processes.signals.Stopped, after a checkpoint.
    """
    prepare_cpu()
    workload.expect(jobs)
    settings = jobs[0].settings
    if settings["threads"] is not None:
        torch.set_num_threads(settings["threads"])
    ranks.join(on_gpu(settings))
    with signals.listening():
        for job in jobs:
            restarts = settings["restarts"]
            while not ranks.agreed(job.done):
                try:
                    _run_locked(job, workload, wait)
                except LockLostError as error:
                    console.print(f"{error}: waiting for it", markup=False)
                except DivergedError as error:
                    if not restarts:
                        raise
                    restarts -= 1
                    console.print(f"{error}\nonce more from there (trainer.restarts)", markup=False)


def _run_locked(job: Job, workload: Workload, wait: bool) -> None:
    """Finishes a stage, unless another process has done so by the time that it can be locked."""
    if ranks.is_first():
        waiting = f"another process works on {job.folder.path.name}: waiting for it"
        with locked(job.folder.lock, waiting, until=lambda: job.done, wait=wait) as lock:
            if ranks.agreed(lock is not None):
                with _noted(job):
                    _finish(job, workload, lock)
    elif ranks.agreed(False):
        _finish(job, workload, None)  # under the lock of rank 0
    if not (wait or ranks.agreed(job.done)):
        raise BusyError


@contextmanager
def _noted(job: Job) -> Iterator[None]:
    """Keeps an error that ends the stage in its folder, for memlab.runs."""
    try:
        job.folder.note_failure(None)
        yield
    except Exception as error:
        with suppress(OSError):  # the disk may be what is wrong
            job.folder.note_failure(explain(error) or traceback.format_exc())
        raise


def _finish(job: Job, workload: Workload, lock: Lock | None) -> None:
    if ranks.agreed(job.done):
        return
    if not ranks.agreed(job.folder.finished):
        _finish_stage(job, workload, lock)
    elif ranks.is_first():
        _evaluate(job, _trained_module(job))  # it was evaluated otherwise than is asked for now
    if ranks.is_first():
        _say_finished(job)


def _finish_stage(job: Job, workload: Workload, lock: Lock | None) -> None:
    folder = job.folder
    trained = ranks.agreed(folder.weights.is_file())  # without finished.json: the evaluation was broken off
    module = _trained_module(job) if trained else first_module(job, prepared_of(job))
    loggers = make_loggers(job, parameter_counts(module)) if ranks.is_first() else []
    try:
        if not trained:
            _train(job, module, loggers, lock, workload)
        if ranks.is_first():
            # With several ranks the module is theirs together.
            measured = module if ranks.world() == 1 else _trained_module(job)
            log_evaluation(loggers, *_evaluate(job, measured), job.stage.training["steps"])
    finally:
        close_loggers(loggers)
    if ranks.is_first():
        folder.write_metrics_csv()
        for checkpoint in folder.checkpoint_files():
            checkpoint.unlink(missing_ok=True)  # the weights are there; optimizer states are twice their size
        folder.finish()


def _train(job: Job, module: StageModule, loggers: list[Any], lock: Lock | None, workload: Workload) -> None:
    """From the last checkpoint, or the beginning, to the weights in the run folder."""
    folder, settings, steps = job.folder, job.settings, job.stage.training["steps"]
    prepared, flops = prepared_of(job), flops_per_step(job.stage)
    resume = newest_checkpoint(folder) if ranks.is_first() else None
    step = resume[1] if resume else 0
    if ranks.is_first():
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
        folder.write_config(asdict(job.stage), job.config)
        folder.truncate_metrics(step)
    checkpoint, step = ranks.agreed((resume[0] if resume else None, step))
    module.batch_number = step * job.stage.training["accumulate"]
    data = data_of(job, module, prepared, module.batch_number)
    speed_up(job, module, data)
    metrics = Metrics(folder, settings["log_every"], prepared.vocab, tokens_per_step(job, module))
    guard = StopAtDivergence(folder, data.train_set, settings["log_every"], settings["max_loss"])
    with Bars() as bars, signals.deferred():
        stage_bar = bars.bar(folder.path.name, steps, done=step)
        workload.done += step * flops
        elapsed = time.monotonic() - workload.started
        whole = bars.bar("experiment", sum(workload.flops.values()), done=workload.done, elapsed=elapsed)
        saving = Checkpoints(folder, settings["checkpoint_every"], guard, lock)
        trainer = trainer_of(job, loggers, [saving, metrics, guard, ShowProgress(metrics, stage_bar, whole, flops)])
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
        assert trainer.global_step == steps, "training stopped early"
        weights = trainer.strategy.lightning_module_state_dict()  # of all ranks together
        if ranks.is_first():
            _write_provenance(job, metrics, flops)
            _save_weights(weights, folder.weights)  # last: weights mean that training is over
        workload.done += (steps - step) * flops
        whole.update(workload.done)


def _trained_module(job: Job) -> StageModule:
    model, objective = build_stage(job.stage)
    load_weights(model, job.folder.weights, "all")
    return module_of(job, model, objective, prepared_of(job))


def prepared_of(job: Job) -> Prepared:
    config = job.config
    prepared = prepare(config["data"], config["tokenizer"], Path(config["runs_dir"]) / "data")
    assert prepared.hash == job.stage.data["hash"], "the text changed while this command ran"
    return prepared


def _evaluate(job: Job, module: StageModule) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Makes the evaluations that are missing; returns the metrics of the stage's own one, and its samples if made."""
    samples: list[dict[str, str]] = []
    for evaluation in job.missing:
        objective, prepared, batches = _evaluation_of(job, evaluation)
        measured = module_of(job, module.model, objective, prepared)
        by_table = evaluate(evaluator_of(job), measured, loader_of(batches), prepared.vocab)
        result = by_table if evaluation.other_objective else unnested(by_table)
        job.folder.write_evaluation(evaluation.file, evaluation.settings, result)
        if evaluation is job.evaluations[0]:
            if module.model.regenerates:
                samples = reconstructions(measured, batches[0][:SAMPLES], prepared)
            job.folder.write_samples(samples)
    own: dict[str, Any] = job.folder.read_evaluation()["metrics"]
    return own, samples


def require_texts(job: Job) -> None:
    """Raises UserError if a text to train or evaluate on is not to be had, or too short."""
    for evaluation in job.evaluations:
        _evaluation_of(job, evaluation)


def _evaluation_of(job: Job, evaluation: Evaluation) -> tuple[Objective, Prepared, HeldOutBatches]:
    """What scores, the text in tokens, and its windows."""
    prepared = prepared_of(job)
    if evaluation.other_text:
        prepared = prepare_held_out(evaluation.data, prepared, prepared.path.parent)
    objective = build_objective(evaluation.objective)
    window = objective.window(chunks_of(job.stage), job.stage.model["chunk_length"])
    training, windows = job.stage.training, job.settings["evaluate_windows"]
    return objective, prepared, HeldOutBatches(prepared.tokens("val"), window, training["batch_size"], windows)


def _save_weights(state: dict[str, Any], path: Path) -> None:
    """The model's, of a LightningModule's state dict."""
    weights = {name.removeprefix("model."): tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_atomic(path, save(weights))


def _write_provenance(job: Job, metrics: Metrics, flops_per_step: float) -> None:
    steps = job.stage.training["steps"]
    code, dirty = commit()
    write_json(
        job.folder.provenance,
        {
            "commit": code,
            "dirty": dirty,
            "versions": versions(),
            "hardware": hardware(),
            "threads": torch.get_num_threads(),
            "seed": job.stage.training["seed"],
            "steps": steps,
            "tokens": steps * metrics.tokens_per_step,
            "seconds": round(metrics.seconds, 2),
            "flops": steps * flops_per_step,
            "peak_memory": peak_memory(),
        },
    )


def _say_finished(job: Job) -> None:
    metrics = job.folder.read_evaluation()["metrics"]
    provenance = job.folder.read_provenance()
    tables = metrics.values() if "token_accuracy" not in metrics else [metrics]
    accuracy = ", ".join(f"{table['token_accuracy']:.1%}" for table in tables)
    console.print(
        f"{job.folder.path.name}: {provenance['steps']:,} steps in {duration(provenance['seconds'])},"
        f" token accuracy {accuracy}",
        markup=False,
    )

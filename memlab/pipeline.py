"""A chain of stages to finished run folders: reuse what is finished, resume what was broken off, train the rest."""

import logging
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from safetensors.torch import save

from memlab.build import build_objective, build_stage, chunks_of, load_weights, start_from
from memlab.cpu import prepare_cpu
from memlab.data.module import HeldOutBatches, WindowDataModule, loader_of
from memlab.data.prepare import Prepared, prepare, prepare_held_out
from memlab.estimate import Workload, flops_per_step
from memlab.files import write_atomic, write_json
from memlab.lit.callbacks import Metrics, ShowProgress
from memlab.lit.checkpoint import Checkpoints, SealedCheckpointIO, newest_checkpoint
from memlab.lit.embeddings import EmbeddingCache, embedding_digest
from memlab.lit.evaluate import SAMPLES, evaluate, parameter_counts, reconstructions, unnested
from memlab.lit.loggers import close_loggers, log_evaluation, make_loggers
from memlab.lit.module import StageModule
from memlab.locks import locked
from memlab.models import LanguageModel, MemoryModel, Stack
from memlab.objectives import Objective
from memlab.plan import Evaluation, Job
from memlab.progress import Bars, console, duration
from memlab.provenance import commit, hardware, peak_memory, versions

# Lightning's advice is on workers and intervals that are chosen on purpose, its news on what the bars say already.
warnings.filterwarnings("ignore", module="lightning")
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


def run_chain(jobs: list[Job], workload: Workload) -> None:
    """Finishes every stage, in order. What was finished before an error stays usable."""
    prepare_cpu()
    workload.expect(jobs)
    threads = jobs[0].settings["threads"]
    if threads is not None:
        torch.set_num_threads(threads)
    for job in jobs:
        folder = job.folder
        if job.done:
            continue
        with locked(folder.lock, f"another process works on {folder.path.name}: waiting for it"):
            if not folder.finished:
                _finish_stage(job, workload)
            elif not job.done:
                _evaluate_again(job)


def _finish_stage(job: Job, workload: Workload) -> None:
    folder, training = job.folder, job.stage.training
    prepared = prepared_of(job)
    module = _build(job, prepared)
    folder.checkpoints.mkdir(parents=True, exist_ok=True)
    folder.write_config(asdict(job.stage), job.config)
    # Weights without finished.json: the evaluation was broken off.
    resume = None if folder.weights.is_file() else newest_checkpoint(folder)
    step = resume[1] if resume else 0
    folder.truncate_metrics(training["steps"] if folder.weights.is_file() else step)
    module.batch_number = step * training["accumulate"]
    data = _data(job, module, prepared, module.batch_number)
    _speed_up(job, module, data)
    flops = flops_per_step(job.stage)
    loggers = make_loggers(job, parameter_counts(module))
    metrics = Metrics(folder, job.settings["log_every"], prepared.vocab, _tokens_per_step(job, module))
    try:
        with Bars() as bars:
            stage_bar = bars.bar(folder.path.name, training["steps"], done=step)
            workload.done += step * flops
            elapsed = time.monotonic() - workload.started
            whole = bars.bar("experiment", sum(workload.flops.values()), done=workload.done, elapsed=elapsed)
            trainer = _trainer(
                job,
                loggers,
                [
                    Checkpoints(folder, job.settings["checkpoint_every"]),
                    metrics,
                    ShowProgress(metrics, stage_bar, whole, flops),
                ],
            )
            if folder.weights.is_file():
                load_weights(module.model, folder.weights, "all")
            else:
                trainer.fit(module, datamodule=data, ckpt_path=resume[0] if resume else None)
                assert trainer.global_step == training["steps"], "training stopped early"
                _write_provenance(job, metrics, flops)
                _save_weights(module, folder.weights)  # last: weights mean that training is over
            workload.done += (training["steps"] - step) * flops
            whole.update(workload.done)
        metrics_found, samples = _evaluate(job, module)
        log_evaluation(loggers, metrics_found, samples, training["steps"])
    finally:
        close_loggers(loggers)
    folder.write_metrics_csv()
    for checkpoint in folder.checkpoint_files():
        checkpoint.unlink()  # the weights are there; optimizer states are twice their size
    folder.finish()
    _say_finished(job)


def _evaluate_again(job: Job) -> None:
    model, objective = build_stage(job.stage)
    load_weights(model, job.folder.weights, "all")
    module = _module(job, model, objective, prepared_of(job))
    _evaluate(job, module)
    _say_finished(job)


def prepared_of(job: Job) -> Prepared:
    config = job.config
    prepared = prepare(config["data"], config["tokenizer"], Path(config["runs_dir"]) / "data")
    assert prepared.hash == job.stage.data["hash"], "the text changed while this command ran"
    return prepared


def _build(job: Job, prepared: Prepared) -> StageModule:
    """The stage's module with the weights that it starts from."""
    stage = job.stage
    model, objective = build_stage(stage)
    if stage.start is not None:
        assert job.parent is not None
        start_from(model, stage, job.parent / job.folder.weights.name)
    return _module(job, model, objective, prepared)


def _module(job: Job, model: LanguageModel, objective: Objective, prepared: Prepared) -> StageModule:
    stage, training = job.stage, job.stage.training
    return StageModule(
        model,
        objective,
        torch.from_numpy(prepared.token_bytes),
        chunks=chunks_of(stage),
        length=stage.model["chunk_length"],
        free_running_windows=job.settings["free_running_windows"],
        **{key: training[key] for key in ("steps", "seed", "lr", "betas", "weight_decay", "warmup")},
    )


def _speed_up(job: Job, module: StageModule, data: WindowDataModule) -> None:
    """What the trainer's settings ask for that changes no result beyond rounding."""
    settings, model = job.settings, module.model
    torch.set_float32_matmul_precision(settings["matmul_precision"])
    if settings["compile"] if settings["compile"] is not None else _on_gpu(settings):
        for stack in (part for part in model.modules() if isinstance(part, Stack)):
            stack.compile()
    # Memories of a fresh token embedding, which is trained, do not stay what they were.
    if settings["cache_embeddings"] and job.stage.freeze_encoder is True and isinstance(model, MemoryModel):
        windows = data.train_set
        spec, training = job.stage.model, job.stage.training
        keys = ("encoder", "chunk_length", "memories", "skip", "compression")
        content = embedding_digest(
            model, [{key: spec[key] for key in keys}, job.stage.data, windows.window, training["precision"]]
        )
        cache = EmbeddingCache(
            Path(job.config["runs_dir"]) / "embeddings" / content,
            model,
            windows.windows,
            windows.window // module.layout["length"],
        )
        module.known_memories = lambda number, tokens: cache.memories(windows.chosen(number), tokens)


def _on_gpu(settings: dict[str, Any]) -> bool:
    return _accelerator(settings) in ("gpu", "cuda")


def _accelerator(settings: dict[str, Any]) -> str:
    """auto: a CUDA device if there is one, else the CPU; Apple's GPUs have no fp64, which metrics are summed in."""
    if settings["accelerator"] != "auto":
        return str(settings["accelerator"])
    return "gpu" if torch.cuda.is_available() else "cpu"


def _window(module: StageModule) -> int:
    return module.objective.window(**module.layout)


def _tokens_per_step(job: Job, module: StageModule) -> int:
    training = job.stage.training
    return int(training["batch_size"] * training["accumulate"] * _window(module))


def _data(job: Job, module: StageModule, prepared: Prepared, start: int) -> WindowDataModule:
    training, settings = job.stage.training, job.settings
    return WindowDataModule(
        prepared,
        window=_window(module),
        batch_size=training["batch_size"],
        seed=training["seed"],
        start_batch=start,
        total_batches=training["steps"] * training["accumulate"],
        val_windows=settings["validate_windows"],
        workers=settings["workers"],
        pin_memory=torch.cuda.is_available(),
    )


def _trainer(job: Job, loggers: list[Any], callbacks: list[lightning.Callback]) -> lightning.Trainer:
    training, settings = job.stage.training, job.settings
    every = min(settings["validate_every"], training["steps"])
    try:
        return lightning.Trainer(
            accelerator=_accelerator(settings),
            devices=settings["devices"],
            precision=training["precision"],
            accumulate_grad_batches=training["accumulate"],
            gradient_clip_val=training["clip"],
            max_steps=training["steps"],
            val_check_interval=every * training["accumulate"],
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=loggers,
            callbacks=callbacks,
            plugins=[SealedCheckpointIO()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=True,
        )
    except lightning.pytorch.utilities.exceptions.MisconfigurationException as error:
        raise ValueError(
            f"trainer.accelerator={settings['accelerator']} with trainer.devices={settings['devices']} cannot be had"
            f" here ({error}): set trainer.accelerator=cpu, or auto for what there is"
        ) from None


def _evaluate(job: Job, module: StageModule) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Makes the evaluations that are missing; returns the metrics of the stage's own one, and its samples if made."""
    samples: list[dict[str, str]] = []
    for evaluation in job.missing:
        prepared = prepared_of(job)
        if evaluation.other_text:
            prepared = prepare_held_out(evaluation.data, prepared, prepared.path.parent)
        measured = _module(job, module.model, build_objective(evaluation.objective), prepared)
        batches = HeldOutBatches(
            prepared.tokens("val"),
            _window(measured),
            job.stage.training["batch_size"],
            job.settings["evaluate_windows"],
        )
        by_table = evaluate(_trainer(job, [], []), measured, loader_of(batches), prepared.vocab)
        result = by_table if evaluation.other_objective else unnested(by_table)
        job.folder.write_evaluation(evaluation.file, evaluation.settings, result)
        if evaluation is job.evaluations[0]:
            if module.model.regenerates:
                samples = reconstructions(measured, batches[0][:SAMPLES], prepared)
            job.folder.write_samples(samples)
    own: dict[str, Any] = job.folder.read_evaluation()["metrics"]
    return own, samples


def require_texts(job: Job) -> None:
    """Raises ValueError if a text to train or evaluate on is not to be had, or too short."""
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


def _save_weights(module: StageModule, path: Path) -> None:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.model.state_dict().items()}
    write_atomic(path, save(state))


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

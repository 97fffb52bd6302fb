"""What trains one stage: its module, its data and its Trainer, as the job's settings ask for them."""

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, Strategy

from memlab.config.plan import Job
from memlab.data.module import WindowDataModule
from memlab.data.prepare import Prepared
from memlab.errors import UserError
from memlab.models import LanguageModel, MemoryModel, Stack
from memlab.objectives import Objective
from memlab.processes import ranks
from memlab.training.build import build_stage, chunks_of, start_from
from memlab.training.checkpoint import SealedCheckpointIO
from memlab.training.memory_cache import EmbeddingCache, embedding_digest
from memlab.training.module import StageModule

# Lightning's advice is on workers and intervals that are chosen on purpose, its news on what the bars say already.
warnings.filterwarnings("ignore", module="lightning")
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


def first_module(job: Job, prepared: Prepared) -> StageModule:
    """The stage's module with the weights that it starts from."""
    stage = job.stage
    model, objective = build_stage(stage)
    if stage.start is not None:
        assert job.parent is not None
        start_from(model, stage, job.parent / job.folder.weights.name)
    return module_of(job, model, objective, prepared)


def module_of(job: Job, model: LanguageModel, objective: Objective, prepared: Prepared) -> StageModule:
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


def speed_up(job: Job, module: StageModule, data: WindowDataModule) -> None:
    """What the trainer's settings ask for that changes no result beyond rounding."""
    settings, model = job.settings, module.model
    torch.set_float32_matmul_precision(settings["matmul_precision"])
    if settings["compile"] if settings["compile"] is not None else on_gpu(settings):
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
        module.known_memories = lambda number, tokens, part: cache.memories(windows.chosen(number)[part], tokens[part])


def on_gpu(settings: dict[str, Any]) -> bool:
    return _accelerator(settings) in ("gpu", "cuda")


def tokens_per_step(job: Job, module: StageModule) -> int:
    """Of all ranks together."""
    training = job.stage.training
    return int(training["batch_size"] * training["accumulate"] * window_of(module))


def window_of(module: StageModule) -> int:
    return module.objective.window(**module.layout)


def data_of(job: Job, module: StageModule, prepared: Prepared, start: int) -> WindowDataModule:
    training, settings = job.stage.training, job.settings
    return WindowDataModule(
        prepared,
        window=window_of(module),
        batch_size=training["batch_size"],
        seed=training["seed"],
        start_batch=start,
        total_batches=training["steps"] * training["accumulate"],
        val_windows=settings["validate_windows"],
        workers=settings["workers"],
        pin_memory=torch.cuda.is_available(),
        share=(ranks.rank(), ranks.world()),
    )


def trainer_of(job: Job, loggers: list[Any], callbacks: list[lightning.Callback]) -> lightning.Trainer:
    """For training, on all ranks."""
    training, settings = job.stage.training, job.settings
    every = min(settings["validate_every"], training["steps"])
    return _trainer(
        job,
        devices=settings["devices"],
        num_nodes=settings["nodes"],
        strategy=_strategy(settings),
        environment=TorchElasticEnvironment() if ranks.world() > 1 else LightningEnvironment(),
        accumulate_grad_batches=training["accumulate"],
        gradient_clip_val=training["clip"],
        max_steps=training["steps"],
        val_check_interval=every * training["accumulate"],
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=loggers,
        callbacks=callbacks,
    )


def evaluator_of(job: Job) -> lightning.Trainer:
    """For evaluating, on this rank alone."""
    return _trainer(
        job, devices=1, num_nodes=1, strategy="auto", environment=LightningEnvironment(), logger=False, callbacks=[]
    )


def _strategy(settings: dict[str, Any]) -> str | Strategy:
    if settings["strategy"] == "fsdp":
        # Whole weights in checkpoints: they are read again by any number of devices.
        return FSDPStrategy(state_dict_type="full", use_orig_params=True)
    return DDPStrategy(process_group_backend="nccl" if on_gpu(settings) else "gloo") if ranks.world() > 1 else "auto"


def _trainer(job: Job, *, environment: ClusterEnvironment, **options: Any) -> lightning.Trainer:
    settings = job.settings
    try:
        return lightning.Trainer(
            accelerator=_accelerator(settings),
            precision=job.stage.training["precision"],
            plugins=[SealedCheckpointIO(), environment],
            use_distributed_sampler=False,  # batches are shared out by memlab.data.module
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=True,
            **options,
        )
    except lightning.pytorch.utilities.exceptions.MisconfigurationException as error:
        raise UserError(
            f"trainer.accelerator={settings['accelerator']} with trainer.devices={settings['devices']} cannot be had"
            f" here ({error}): set trainer.accelerator=cpu, or auto for what there is"
        ) from None


def _accelerator(settings: dict[str, Any]) -> str:
    """auto: a CUDA device if there is one, else the CPU; Apple's GPUs have no fp64, which metrics are summed in."""
    if settings["accelerator"] != "auto":
        return str(settings["accelerator"])
    return "gpu" if torch.cuda.is_available() else "cpu"

"""The Trainer that a job's settings ask for: accelerator, strategy, precision, cadences."""

import logging
import warnings
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from memlab.config.stage import Job
from memlab.errors import UserError
from memlab.models import Block, LanguageModel
from memlab.processes import ranks
from memlab.training.checkpoint import SealedCheckpointIO
from memlab.training.sharded import ShardedStrategy

# Lightning's warnings concern choices that memlab made deliberately; its log repeats memlab's progress bars.
warnings.filterwarnings("ignore", module="lightning")
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


def make_trainer(job: Job, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    """Return the Trainer of a stage, on every rank. Raises UserError for hardware that is not here."""
    training, settings = job.stage.training, job.settings
    every = min(settings["validate_every"], training["steps"])
    try:
        return lightning.Trainer(
            accelerator=accelerator(settings),
            devices=settings["devices"],
            num_nodes=settings["nodes"],
            strategy=_strategy(settings),
            precision=training["precision"],
            plugins=[SealedCheckpointIO(), TorchElasticEnvironment() if ranks.world() > 1 else LightningEnvironment()],
            accumulate_grad_batches=training["accumulate"],
            gradient_clip_val=training["clip"],
            max_steps=training["steps"],
            val_check_interval=every * training["accumulate"],
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=False,
            callbacks=callbacks,
            use_distributed_sampler=False,  # memlab.data.module shares batches out
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except MisconfigurationException as error:
        raise UserError(
            f"trainer.accelerator={settings['accelerator']} with trainer.devices={settings['devices']} cannot be had"
            f" here ({error}): set trainer.accelerator=cpu, or auto for what there is"
        ) from None


def accelerator(settings: dict[str, Any]) -> str:
    """Return gpu or cpu. auto: a CUDA device if there is one; Apple's GPUs lack fp64, in which metrics are summed."""
    if settings["accelerator"] != "auto":
        return str(settings["accelerator"])
    return "gpu" if torch.cuda.is_available() else "cpu"


def on_gpu(settings: dict[str, Any]) -> bool:
    return accelerator(settings) in ("gpu", "cuda")


def speed_up(model: LanguageModel, settings: dict[str, Any]) -> None:
    """Apply the settings that change no result beyond rounding."""
    torch.set_float32_matmul_precision(settings["matmul_precision"])
    if settings["compile"] if settings["compile"] is not None else on_gpu(settings):
        compile_blocks(model)


def compile_blocks(model: LanguageModel) -> None:
    """Compile every block by itself: blocks alike share what is compiled, so a deep stack takes as long as one block.

    A stage calls blocks of several kinds (encoder, decoder, the last one of a stack) with and without gradients and
    with several sizes, which is more than the compiler allows for one function before it gives up.
    """
    torch._dynamo.config.recompile_limit = 64
    for block in (part for part in model.modules() if isinstance(part, Block)):
        block.compile()


def _strategy(settings: dict[str, Any]) -> str | Strategy:
    backend = "nccl" if on_gpu(settings) else "gloo"
    if settings["strategy"] == "fsdp":
        return ShardedStrategy(process_group_backend=backend)
    return DDPStrategy(process_group_backend=backend) if ranks.world() > 1 else "auto"

"""Choose how a command's points fill this machine."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from memlab.config.stage import Chain, Stage
from memlab.pool.layout import Layout, candidates, fastest, given_threads
from memlab.pool.pool import measure_together
from memlab.pool.worker import Time
from memlab.processes.cpu import prepare_cpu
from memlab.processes.machine import cores
from memlab.storage.provenance import hardware
from memlab.training.estimate import flops_per_step
from memlab.training.pace import seconds_per_step
from memlab.training.trainer import on_gpu

SMALL = 1e12  # operations of a command, less than a minute: a measurement would not pay


def choose_layout(chains: Sequence[Chain], parallel: int | None) -> Layout:
    """Return how many stages are trained side by side, and with how many threads each.

    parallel: the user's choice; None: one stage per GPU, or the layout that trains this command's largest stage
    fastest, which is measured once (`layouts.json` in the runs folder). Finished stages count as well, so that the same
    command has the same layout after an interruption.
    """
    first = chains[0].jobs[0]
    threads = given_threads(first.settings)
    gpus = visible_gpus(first.settings)
    if gpus and parallel is None:
        parallel = min(len(gpus), len(chains))
    layouts = candidates(cores(), len(chains), parallel, threads)
    jobs = {job.folder.path: job for chain in chains for job in chain.jobs}.values()
    # Of whole stages, finished or not: what is left changes with every interruption, and the layout must not.
    operations = {job.stage.fingerprint: flops_per_step(job.stage) * job.stage.training["steps"] for job in jobs}
    if sum(operations.values()) < SMALL:
        return layouts[0]
    largest = max((job.stage for job in jobs), key=lambda stage: operations[stage.fingerprint])
    measure = _alone if len(chains) == 1 else _together
    return fastest(layouts, largest, Path(first.config["runs_dir"]) / "layouts.json", hardware(), measure)


def visible_gpus(settings: dict[str, Any]) -> list[str]:
    """Return the GPUs that a command may use, as CUDA_VISIBLE_DEVICES names them; none for training on a CPU."""
    if not on_gpu(settings):
        return []
    count, given = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",")[:count] if given else [str(number) for number in range(count)]


def _alone(layout: Layout, stage: Stage) -> float:
    prepare_cpu()  # before torch starts the threads that will train, too
    return 1 / seconds_per_step(stage, layout.threads)


def _together(layout: Layout, stage: Stage) -> float:
    return sum(1 / seconds for seconds in measure_together([Time(stage, layout.threads)] * layout.workers))

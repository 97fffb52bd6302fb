"""What a stage will cost: floating-point operations counted on shapes alone, seconds from how fast this machine is."""

import json
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from memlab.config.plan import Job, Stage
from memlab.storage.files import read_json
from memlab.storage.provenance import hardware
from memlab.training.build import build_objective, build_stage, chunks_of, require_fits

# Share of the matrix-product peak that small models reach in training, before any run has told better.
FIRST_GUESS = 0.25


@dataclass
class Workload:
    """What one command has to do, for the bar of the whole experiment; in operations, which time goes with."""

    flops: dict[str, float] = field(default_factory=dict)  # by run folder, of what was unfinished at the start
    done: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def expect(self, jobs: Iterable[Job]) -> None:
        """Adds the unfinished stages of a chain, each once. Raises UserError as build_stage and require_fits do."""
        for job in jobs:
            for evaluation in job.evaluations:
                require_fits(build_objective(evaluation.objective), job.stage)
            name = str(job.folder.path)
            if name not in self.flops and not job.folder.finished:
                self.flops[name] = flops_per_step(job.stage) * job.stage.training["steps"]


def flops_per_step(stage: Stage) -> float:
    """Forward and backward matrix products of one optimizer step. Raises UserError where the parts do not fit."""
    training = stage.training
    # Runs that differ in how long or from what they are trained cost the same a window.
    alike = replace(stage, name="", start=None, training={"seed": 0})
    return _flops_per_window(json.dumps(asdict(alike))) * training["batch_size"] * training["accumulate"]


@cache
def _flops_per_window(stage_values: str) -> float:
    stage = Stage(**json.loads(stage_values))
    with torch.device("meta"):
        model, objective = build_stage(stage)
        chunks, length = chunks_of(stage), stage.model["chunk_length"]
        tokens = torch.zeros(1, objective.window(chunks, length), dtype=torch.long)
        counter = FlopCounterMode(display=False)
        with counter:
            loss, _ = objective.losses(model, tokens, chunks=chunks, length=length)
            loss.backward()
    return float(counter.get_total_flops())


def seconds_left(jobs: Collection[Job]) -> float:
    """Of training the stages of a command that are not finished, on this machine."""
    pace = seconds_per_flop(finished_runs(jobs))
    return pace * sum(flops_per_step(job.stage) * steps_left(job) for job in jobs)


def steps_left(job: Job) -> int:
    """Behind the last checkpoint; none of a finished stage."""
    if job.folder.finished:
        return 0
    files = job.folder.checkpoint_files()
    return int(job.stage.training["steps"]) - (int(files[0].stem.removeprefix("step-")) if files else 0)


def seconds_per_flop(finished: Iterable[Path]) -> float:
    """From the provenance of finished runs on a machine like this one; without any, from a matrix product."""
    costs = []
    for folder in finished:
        provenance = read_json(folder / "provenance.json")
        if provenance["hardware"] == hardware() and provenance["threads"] == torch.get_num_threads():
            costs.append(provenance["seconds"] / provenance["flops"])
    return float(np.median(costs)) if costs else 1 / (FIRST_GUESS * _matmul_flops())


def finished_runs(jobs: Iterable[Job]) -> list[Path]:
    """Folders of all finished runs beside the jobs' own."""
    roots = {job.folder.path.parent for job in jobs}
    return [path.parent for root in roots for path in root.glob("*/finished.json")]


@cache
def _matmul_flops(size: int = 1024) -> float:
    """Operations per second of a square fp32 product on the default device's CPU, or on the GPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(size, size, device=device)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        (a @ a).sum().item()
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best

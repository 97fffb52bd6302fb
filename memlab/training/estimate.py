"""What a stage will cost: operations counted on shapes alone, seconds from the speed of this machine."""

import json
import math
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from memlab.config.stage import Job, Stage
from memlab.progress import Bar, Bars
from memlab.storage.files import read_json
from memlab.storage.provenance import hardware
from memlab.training.build import build_stage, layout_of
from memlab.training.peak import square_rate

# Share of the matrix-product peak that training small models reaches, until a finished run tells better.
FIRST_GUESS = 0.25


@dataclass
class Workload:
    """What one command has to do, for the bar of all stages; in operations, since time is proportional to them."""

    flops: dict[str, float] = field(default_factory=dict)  # by run folder, of what was unfinished at the start
    done: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add the unfinished stages of a chain, each once. Raises UserError as flops_per_step does."""
        for job in jobs:
            name = str(job.folder.path)
            if name not in self.flops and not job.folder.finished:
                self.flops[name] = flops_per_step(job.stage) * job.stage.training["steps"]

    def resume(self, bars: Bars, done: float) -> Bar:
        """Return the bar of all stages during a stage whose checkpoint has `done` operations behind it."""
        self.done += done
        elapsed = time.monotonic() - self.started
        return bars.bar("all stages", sum(self.flops.values()), done=self.done, elapsed=elapsed)


def flops_per_step(stage: Stage) -> float:
    """Return the operations of the matrix products of one optimizer step, forward and backward.

    Raises UserError where model, objective and layout do not fit each other.
    """
    training = stage.training
    # Stages that differ in length or in what they start from cost the same per window.
    alike = replace(stage, name="", start=None, training={"seed": 0}, place=0)
    return _flops_per_window(json.dumps(asdict(alike))) * training["batch_size"] * training["accumulate"]


@cache
def _flops_per_window(stage_values: str) -> float:
    stage = Stage(**json.loads(stage_values))
    with torch.device("meta"):
        model, objective = build_stage(stage)
        objective.require(model)
        layout = layout_of(stage)
        tokens = torch.zeros(1, objective.window(layout), dtype=torch.long)
        counter = FlopCounterMode(display=False)
        with counter:
            loss, _ = objective.losses(model, tokens, layout)
            loss.backward()
    return float(counter.get_total_flops())


def seconds_left(jobs: Collection[Job]) -> float:
    """Return the seconds that training the unfinished stages takes on this machine."""
    pace = seconds_per_flop(finished_runs(jobs), smallest_step(jobs))
    return pace * sum(flops_per_step(job.stage) * steps_left(job) for job in jobs)


def steps_left(job: Job) -> int:
    """Return the steps after the last checkpoint; 0 for a finished stage."""
    if job.folder.finished:
        return 0
    files = job.folder.checkpoint_files()
    return int(job.stage.training["steps"]) - (job.folder.step_of(files[0]) if files else 0)


def operations_left(job: Job) -> float:
    """Return the operations after the last checkpoint; an evaluation counts as one step."""
    return flops_per_step(job.stage) * (steps_left(job) + 1)


def seconds_per_flop(finished: Iterable[Path], least: float = 0.0) -> float:
    """Return the median of finished runs on a machine like this one; without any, a guess from a matrix product.

    least: operations per step below which a run does not count: tiny models spend their time on other things.
    """
    costs = []
    for folder in finished:
        try:
            provenance = read_json(folder / "provenance.json")
            alike = provenance["hardware"] == hardware() and provenance["threads"] == torch.get_num_threads()
            if alike and provenance["flops"] >= least * provenance["steps"]:
                costs.append(float(provenance["seconds"] / provenance["flops"]))
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
            continue  # a damaged file; `python -m memlab.runs verify` reports it
    costs = [cost for cost in costs if 0 < cost < math.inf]
    return median(costs) if costs else 1 / (FIRST_GUESS * _matmul_flops())


def smallest_step(jobs: Iterable[Job]) -> float:
    """Return a quarter of the operations of the cheapest stage's step: runs below it tell nothing about these jobs."""
    return min((flops_per_step(job.stage) for job in jobs), default=0.0) / 4


def finished_runs(jobs: Iterable[Job]) -> list[Path]:
    """Return the folders of all finished runs in the jobs' runs folders."""
    roots = {job.folder.path.parent for job in jobs}
    return [path.parent for root in roots for path in root.glob("*/finished.json")]


@cache
def _matmul_flops() -> float:
    """Return the operations per second of a square fp32 product, on the GPU if there is one."""
    return square_rate(1024, "cuda" if torch.cuda.is_available() else "cpu")

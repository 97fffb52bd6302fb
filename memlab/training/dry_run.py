"""dry_run=true: the stages of a command, what is reused, and the time expected; nothing is written."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from memlab.config.stage import Chain
from memlab.progress import console, duration
from memlab.training.estimate import (
    finished_runs,
    flops_per_step,
    seconds_left,
    seconds_per_flop,
    smallest_step,
    steps_left,
)


def print_plan(chains: Sequence[Chain]) -> None:
    """Print one line per stage. Raises UserError if a model or an objective cannot be built."""
    jobs = {job.folder.path: (job, chain) for chain in chains for job in chain.jobs}
    users: dict[Path, list[str]] = {}
    for chain in chains:
        for job in chain.jobs:
            users.setdefault(job.folder.path, []).append(str(chain.choices["arm"]))
    planned = [job for job, _ in jobs.values()]
    pace = seconds_per_flop(finished_runs(planned), smallest_step(planned))
    table = Table("stage", "architecture", "seed", "steps", "state", "time expected", "for", title="plan")
    for path, (job, chain) in jobs.items():
        steps, to_go = job.stage.training["steps"], steps_left(job)
        seconds = flops_per_step(job.stage) * to_go * pace
        if to_go:
            state = "to train" if to_go == steps else f"resumes at step {steps - to_go:,}"
        else:
            state = "to measure again" if job.missing else "finished, reused"
        table.add_row(
            path.name,
            chain.choices["architecture"],
            str(chain.choices["seed"]),
            f"{steps:,}",
            state,
            duration(seconds),
            ", ".join(dict.fromkeys(users[path])),
        )
    console.print(table)
    left = duration(seconds_left(planned))
    console.print(
        f"{len(chains)} points, {len(jobs)} stages; expected: {left} of training on this machine, without evaluations"
        " and start-up",
        markup=False,
    )

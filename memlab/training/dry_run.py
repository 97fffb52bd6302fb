"""dry_run=true: the stages of a command, what is reused and the time expected; nothing is written."""

from rich.table import Table

from memlab.config.plan import Job, choices
from memlab.progress import console, duration
from memlab.training.estimate import finished_runs, flops_per_step, seconds_left, seconds_per_flop, steps_left


def print_plan(chains: list[list[Job]]) -> None:
    """Prints a line per stage, each once. Raises UserError if a model or an objective cannot be built."""
    jobs = {job.folder.path: job for chain in chains for job in chain}
    users: dict[object, list[str]] = {}
    for chain in chains:
        point = choices(chain[-1])
        for job in chain:
            users.setdefault(job.folder.path, []).append(str(point["arm"]))
    pace = seconds_per_flop(finished_runs(jobs.values()))
    table = Table("stage", "architecture", "seed", "steps", "state", "time expected", "for", title="plan")
    for path, job in jobs.items():
        steps, left = job.stage.training["steps"], steps_left(job)
        seconds = flops_per_step(job.stage) * left * pace
        state = "to train" if left == steps else f"goes on at step {steps - left:,}" if left else "finished, reused"
        point = choices(job)
        arms = ", ".join(dict.fromkeys(users[path]))
        table.add_row(
            path.name, point["architecture"], str(point["seed"]), f"{steps:,}", state, duration(seconds), arms
        )
    console.print(table)
    console.print(
        f"{len(chains)} points, {len(jobs)} stages; expected: {duration(seconds_left(jobs.values()))} of training on"
        " this machine, evaluations and start-up not included",
        markup=False,
    )

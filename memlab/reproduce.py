"""All experiments, one after another: python -m memlab.reproduce [KEY=VALUE], with the overrides of memlab.run.

All of them are composed and validated before the first one runs. Finished stages are reused, interrupted ones resume.
"""

import sys

from rich.table import Table

from memlab.config import paths
from memlab.config.compose import Sweep, compose_sweep
from memlab.config.plan import plan_all
from memlab.config.stage import Job
from memlab.errors import fail
from memlab.processes import spawn
from memlab.processes.signals import ENDING
from memlab.progress import console, duration

# In the paper's order: later ones reuse stages of earlier ones.
EXPERIMENTS = (
    "information_retention",
    "causal_memory",
    "copy",
    "memory_information",
    "blank_copy",
    "copy_curriculum",
    "combined_objective",
    "benchmarks",
    "memory_placement",
    "frozen_recovery",
    "oracle_memory",
    "trivial_encoding",
    "autoencoder_design",
    "robust_memories",
    "memory_vectors",
    "capacity_law",
    "llm_information",
    "pretrained_decoder",
    "throughput",
)


def main() -> None:
    if "--help" in sys.argv or "-h" in sys.argv:
        print(f"{__doc__}\nExperiments: {', '.join(EXPERIMENTS)}")
        return
    overrides = sys.argv[1:]
    try:
        sweeps = {name: compose_sweep([f"+experiment={name}", *overrides]) for name in EXPERIMENTS}
        jobs = {name: _jobs(sweep) for name, sweep in sweeps.items()}
        _print_plan(jobs)
    except Exception as error:
        fail(error, 2)
    failed = []
    for number, name in enumerate(EXPERIMENTS, 1):
        left = _seconds({folder: job for later in EXPERIMENTS[number - 1 :] for folder, job in jobs[later].items()})
        console.rule(f"{number} of {len(EXPERIMENTS)}: {name}; about {duration(left)} left", align="left")
        command = [sys.executable, "-m", "memlab.run", f"+experiment={name}", *overrides]
        status = spawn.run(command)
        if status - 128 in ENDING:
            raise SystemExit(status)  # a signal told the experiment to stop, and this command with it
        if status:
            failed.append(name)
    console.rule("done", align="left")
    for name, sweep in sweeps.items():
        state = "failed, see above" if name in failed else sweep.report_folder / "report.md"
        console.print(f"{name}: {state}", markup=False)
    console.print(f"experiments: {paths.experiments()}\nnext:        make figures", markup=False)
    if failed:
        raise SystemExit(1)


def _jobs(sweep: Sweep) -> dict[str, Job]:
    """The stages of a sweep by run folder, each once; none if it measures speed."""
    if sweep.measures:
        return {}
    return {str(job.folder.path): job for chain in plan_all(sweep.configs) for job in chain.jobs}


def _print_plan(jobs: dict[str, dict[str, Job]]) -> None:
    table = Table("experiment", "stages", "to train", "time expected", title="reproduce", title_justify="left")
    seen: dict[str, Job] = {}
    for name, own in jobs.items():
        new = {folder: job for folder, job in own.items() if folder not in seen}
        seen |= new
        left = sum(not job.folder.finished for job in new.values())
        table.add_row(name, str(len(own)), str(left), duration(_seconds(new)))
    console.print(table)
    console.print(
        "a stage that several experiments share counts with the first of them; measuring speed (throughput) is not"
        " counted",
        markup=False,
    )


def _seconds(jobs: dict[str, Job]) -> float:
    """Of training that is left."""
    from memlab.training.estimate import seconds_left

    return seconds_left(jobs.values())


if __name__ == "__main__":
    main()

"""The points of one command: prepared, run by a launcher, and reported."""

import sys
from collections.abc import Sequence
from typing import Any

from memlab.config.compose import Sweep
from memlab.config.instantiate import build, verify
from memlab.config.measured import points_of
from memlab.config.stage import Chain, Config, Job
from memlab.errors import UserError
from memlab.processes import ranks
from memlab.processes.spawn import start_here
from memlab.progress import console

HERE = ("basic", "local")  # launchers that train on this machine


def needs_workers(sweep: Sweep, chains: Sequence[Chain]) -> bool:
    """Whether the command has several points to train side by side on this machine."""
    trainer = sweep.configs[0].trainer
    one_process = trainer.devices * trainer.nodes == 1 and ranks.world() == 1
    local = sweep.launcher["name"] == "local" and not sweep.measures
    return local and one_process and len(chains) > 1 and bool(unfinished(chains))


def require_possible(sweep: Sweep, chains: Sequence[Chain]) -> None:
    """Build the model and the objective of every unfinished stage on shapes.

    Raises UserError if one cannot be built, if a `_target_` does not take its keys, if the experiment has no claims or
    its report could not tell two points apart, or for a launcher of Hydra's own.
    """
    if sweep.launcher["name"] != "basic" and sweep.launcher["_target_"].startswith(("hydra.", "hydra_plugins.")):
        raise UserError(
            f"hydra/launcher={sweep.launcher['name']} cannot run memlab's points: take basic, local or slurm"
        )
    if sweep.launcher["name"] != "basic":
        _launcher(sweep.launcher)
    if sweep.experiment is not None:
        from memlab.report.of_sweep import require_reportable

        require_reportable(sweep.experiment, [(chain.label, chain.jobs[-1].folder.path) for chain in chains])
    jobs = unfinished(chains)
    if not jobs:
        return
    from memlab.training.build import require_trainable
    from memlab.training.estimate import flops_per_step

    for job in jobs:
        training = {key: job.stage.training[key] for key in ("optimizer", "schedule")}
        verify({"logger": job.config["logger"], "measures": job.config["evaluation"]["measures"], **training})
        verify({"model": job.stage.model, "objective": job.stage.objective})
        flops_per_step(job.stage)
        require_trainable(job)
    if sweep.measures:
        from memlab.bench.session import require_measurable_speed

        require_measurable_speed(chains, sweep.launcher["name"])


def unfinished(chains: Sequence[Chain]) -> list[Job]:
    """Return the stages that are not trained, or not measured as their chain asks."""
    return [job for chain in chains for job in chain.jobs if not job.done]


def print_plan(sweep: Sweep, chains: Sequence[Chain]) -> None:
    """Print what the command would train, or measure."""
    if sweep.measures:
        from memlab.bench.session import print_sessions

        print_sessions(chains)
        return
    from memlab.training.dry_run import print_plan as print_stages

    print_stages(chains)


def prepare(sweep: Sweep, chains: Sequence[Chain]) -> None:
    """Prepare the text of every unfinished stage, and write down what a report will be made of.

    Raises UserError as require_possible does, and if a text cannot be prepared.
    """
    require_possible(sweep, chains)
    jobs = [] if sweep.measures else unfinished(chains)
    if jobs:
        from memlab.training.evaluate import require_measurable

        for job in jobs:
            require_measurable(job)
    if sweep.is_experiment and ranks.is_first():
        from memlab.report.of_sweep import write_points

        write_points(sweep.report_folder, sweep.given, points_of(chains))


def run_sweep(sweep: Sweep, chains: Sequence[Chain]) -> int:
    """Run the points where hydra/launcher says, then make the report; return the exit status.

    Speeds are measured here, in this process.
    """
    if sweep.measures:
        from memlab.bench.session import run_sessions as launch
    else:
        launch = run_points if sweep.launcher["name"] == "basic" else _launcher(sweep.launcher)
    failures = launch(chains)
    if sweep.is_experiment and ranks.is_first():
        from memlab.report.of_sweep import report_sweep
        from memlab.report.writers import WRITERS, Logged

        failures += report_sweep(
            experiment=sweep.experiment,
            scale=sweep.scale,
            runs_dir=sweep.runs_dir,
            folder=sweep.report_folder,
            command=sweep.command,
            points=points_of(chains),
            overrides=sweep.given,
            writers=(*WRITERS, Logged(build(chains[0].jobs[0].config["logger"]), sweep.runs_dir)),
        )
    elif ranks.is_first() and len(chains) == 1 and not failures:
        from memlab.report.of_sweep import print_point

        print_point(chains[0].label, chains[0].point())
    for message in dict.fromkeys(failures):
        print(f"error: {message}", file=sys.stderr)
    return 1 if failures else 0


def run_points(chains: Sequence[Chain], threads: int | None = None) -> list[str]:
    """Finish the points in this process, one by one; return the messages of what failed.

    threads: of the CPU; None: trainer.threads, or else what torch chooses. Finished points import nothing heavy.
    """
    if all(job.done for chain in chains for job in chain.jobs):
        for chain in chains:
            console.print(f"{chain.label}: finished", markup=False)
        return []
    from memlab.training.chain import run_chains

    return run_chains(chains, threads)


def start_ranks(sweep: Sweep) -> None:
    """Where trainer.devices asks for several processes, start them and end with them, unless this is one of them."""
    if sweep.launcher["name"] in HERE:  # a SLURM job has its tasks
        start_here(sweep.configs[0].trainer.devices, sweep.configs[0].trainer.nodes)


def _launcher(spec: Config) -> Any:
    return build({key: value for key, value in spec.items() if key != "name"})

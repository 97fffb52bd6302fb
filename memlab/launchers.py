"""Launchers: where the points of a sweep are finished, on this machine or as SLURM jobs (through submitit).

hydra/launcher=local and hydra/launcher=slurm choose them (conf/hydra/launcher). Each is given the points' chains of
stages, which are plain values, and returns the messages of what failed.
"""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlab.config.stage import Chain
from memlab.errors import UserError
from memlab.progress import Bars, console

if TYPE_CHECKING:
    import submitit

POLL = 1.0  # seconds between two looks at the jobs


class PointJob:
    """One point of a sweep, run on the machine that the job is given. submitit pickles it."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def __call__(self) -> list[str]:
        """Run the point; return the messages of what failed."""
        from submitit.helpers import TorchDistributedEnvironment

        from memlab.processes import ranks
        from memlab.processes.signals import Stopped, signals
        from memlab.processes.slurm import goes_on_later

        environment = TorchDistributedEnvironment()
        if environment.world_size > 1:
            environment.export(set_cuda_visible_devices=False, overwrite=True)  # a rank takes the GPU of its number
            ranks.silence_others()
        handler = signal.getsignal(signal.SIGUSR2)  # submitit's, which submits the job again
        try:
            with signals.listening():
                return self._run(environment.world_size)
        except Stopped as stopped:
            if callable(handler) and goes_on_later(stopped):
                handler(signal.SIGUSR2, None)  # ends the process of rank 0
                signal.pause()  # the other ranks are ended with rank 0
            ranks.wait_for_first()
            raise SystemExit(stopped.status) from None

    def _run(self, world: int) -> list[str]:
        from memlab.errors import explain
        from memlab.sweep import run_points

        try:
            return run_points([self.chain])
        except Exception as error:
            message = explain(error)
            if message is None or world > 1:  # other ranks may wait for this one: its exit status ends them
                raise
            return [message]

    def checkpoint(self) -> Any:
        """Say what submitit submits when the job has reached its time limit or was preempted: the same point."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class SlurmLauncher:
    """Submits a job per point, all points as one SLURM array, and waits for all of them.

    submitit_folder: of the jobs' logs. python: what starts a job's Python; None: this interpreter. max_num_timeout:
    how often a job may be submitted again. parameters: submitit's, such as partition or timeout_min.
    """

    def __init__(
        self, *, submitit_folder: str, python: str | None = None, max_num_timeout: int | None = None, **parameters: Any
    ) -> None:
        self.folder = Path(submitit_folder)
        given = {"python": python, "max_num_timeout": max_num_timeout}
        self.of_executor: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        self.parameters = {key: value for key, value in parameters.items() if value is not None}

    def __call__(self, chains: Sequence[Chain]) -> list[str]:
        from memlab.pool.tasks import in_order
        from memlab.training.estimate import operations_left

        jobs = self._submit([PointJob(chain) for chain in in_order(chains, operations_left)])
        with Bars() as bars:
            bar = bars.bar("sweep", len(jobs))
            for job in jobs:
                console.print(f"submitted job {job.job_id}; log: {_log(job)}", markup=False)
            while not all(job.done() for job in jobs):
                bar.update(sum(job.done() for job in jobs), f"{len(jobs)} submitted")
                time.sleep(POLL)
        return [message for job in jobs for message in _failures(job)]

    def _submit(self, points: list[PointJob]) -> "list[submitit.Job[list[str]]]":
        """Raise UserError if SLURM does not take the jobs."""
        from submitit.core.utils import FailedJobError
        from submitit.slurm.slurm import SlurmExecutor, SlurmJob

        from memlab.processes.slurm import QueueWatcher

        SlurmJob.watcher = QueueWatcher(delay_s=30)
        try:
            executor = SlurmExecutor(self.folder, **self.of_executor)
            executor.update_parameters(**self.parameters)
            with executor.batch():
                return [executor.submit(point) for point in points]
        except (RuntimeError, FailedJobError) as error:  # no srun here, or what sbatch says
            raise UserError(f"SLURM does not take the jobs: {error}") from None


class LocalLauncher:
    """Finishes the points on this machine: several stages side by side, in processes of their own, or here one by one.

    parallel: how many stages; None: as many as make the fastest sweep, or one per GPU.
    """

    def __init__(self, *, parallel: int | None = None) -> None:
        if parallel is not None and parallel < 1:
            raise UserError(f"hydra.launcher.parallel={parallel}: choose a whole number of at least 1, or null")
        self.parallel = parallel

    def __call__(self, chains: Sequence[Chain]) -> list[str]:
        from memlab.processes import ranks
        from memlab.sweep import run_points

        if ranks.world() > 1 or all(job.done for chain in chains for job in chain.jobs):
            return run_points(chains)
        from memlab.pool.choose import choose_layout, visible_gpus
        from memlab.pool.pool import run_in_workers

        layout = choose_layout(chains, self.parallel)
        if layout.workers == 1:
            return run_points(chains, layout.threads)
        counts = f"{layout.workers} workers, {layout.threads} thread{'s' * (layout.threads > 1)} each"
        console.print(f"{len(chains)} points in {counts}", markup=False)
        return run_in_workers(chains, layout, visible_gpus(chains[0].jobs[0].settings))


def _failures(job: "submitit.Job[list[str]]") -> list[str]:
    """Return what went wrong in a job."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return [f"job {job.job_id}: {message}" for message in job.task(0).result()]
    except FailedJobError as error:  # an UncompletedJobError, too
        trace = str(error).partition("You can check full logs")[0].rstrip("-\n")
        return [f"job {job.job_id}: {trace.splitlines()[-1]}: see {_log(job)}"]
    except UncompletedJobError:
        return [f"job {job.job_id} ended without a result ({job.state}): see {_log(job)}"]
    except Exception as error:  # whatever unpickling may raise
        return [f"job {job.job_id}: its result cannot be read ({error!r}): see {_log(job)}"]


def _log(job: "submitit.Job[list[str]]") -> str:
    return os.path.relpath(Path(job.task(0).paths.stderr).with_suffix(".*"))

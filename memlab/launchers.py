"""Launchers: the points of a sweep as SLURM jobs or as processes of this machine, through submitit.

hydra/launcher=slurm and hydra/launcher=local choose them (conf/hydra/launcher). Each is given the points' chains of
stages, which are plain values, and returns the messages of what failed.
"""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlab.config.stage import Chain

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


class _Launcher:
    """Submits a job per point and waits for all of them.

    submitit_folder: of the jobs' logs. python: what starts a job's Python; None: this interpreter. max_num_timeout:
    how often a job may be submitted again. parameters: submitit's, such as partition or timeout_min.
    """

    def __init__(
        self, *, submitit_folder: str, python: str | None = None, max_num_timeout: int | None = None, **parameters: Any
    ) -> None:
        self.folder = Path(submitit_folder)
        self.of_executor = {"python": python, "max_num_timeout": max_num_timeout}
        self.parameters = parameters

    def __call__(self, chains: Sequence[Chain]) -> list[str]:
        from memlab.progress import Bars, console

        waiting = [PointJob(chain) for chain in chains]
        jobs: list[submitit.Job[list[str]]] = []
        with Bars() as bars:
            bar = bars.bar("sweep", len(waiting))
            while waiting or not all(job.done() for job in jobs):
                new = self._submit(waiting, [job for job in jobs if not job.done()])
                for job in new:
                    console.print(f"submitted job {job.job_id}; log: {_log(job)}", markup=False)
                jobs += new
                bar.update(sum(job.done() for job in jobs), f"{len(jobs)} submitted")
                time.sleep(POLL)
        return [message for job in jobs for message in _failures(job)]

    def _submit(self, waiting: list[PointJob], running: "list[submitit.Job[list[str]]]") -> list[Any]:
        """Submit those of `waiting` that may run now, and take them out of the list."""
        raise NotImplementedError

    def _executor(self, kind: Any, **parameters: Any) -> Any:
        """Return an executor of submitit with the launcher's parameters and these."""
        executor = kind(self.folder, **{key: value for key, value in self.of_executor.items() if value is not None})
        given = {key: value for key, value in self.parameters.items() if value is not None}
        executor.update_parameters(**given | parameters)
        return executor


class SlurmLauncher(_Launcher):
    """Submits all points as one SLURM array."""

    def _submit(self, waiting: list[PointJob], running: "list[submitit.Job[list[str]]]") -> list[Any]:
        if not waiting:
            return []
        from submitit.core.utils import FailedJobError
        from submitit.slurm.slurm import SlurmExecutor, SlurmJob

        from memlab.errors import UserError
        from memlab.processes.slurm import QueueWatcher

        SlurmJob.watcher = QueueWatcher(delay_s=30)
        points, waiting[:] = list(waiting), []
        try:
            executor = self._executor(SlurmExecutor)
            with executor.batch():
                jobs = [executor.submit(point) for point in points]
            return jobs
        except (RuntimeError, FailedJobError) as error:  # no srun here, or what sbatch says
            raise UserError(f"SLURM does not take the jobs: {error}") from None


class LocalLauncher(_Launcher):
    """Runs a process per point on this machine, `parallel` at a time, each with GPUs of its own."""

    def __init__(self, *, parallel: int, **options: Any) -> None:
        super().__init__(**options)
        self.parallel = parallel
        self._slots: dict[str, int] = {}  # of running jobs

    def _submit(self, waiting: list[PointJob], running: "list[submitit.Job[list[str]]]") -> list[Any]:
        from submitit.local.local import LocalExecutor

        self._slots = {job.job_id: self._slots[job.job_id] for job in running}
        free = sorted(set(range(self.parallel)) - set(self._slots.values()))
        gpus = self.parameters.get("gpus_per_node") or 0
        new = []
        for slot in free[: len(waiting)]:
            own_gpus = list(range(slot * gpus, (slot + 1) * gpus))
            job = self._executor(LocalExecutor, visible_gpus=own_gpus).submit(waiting.pop(0))
            self._slots[job.job_id] = slot
            new.append(job)
        return new


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

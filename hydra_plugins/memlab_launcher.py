"""Launchers of a sweep's points as jobs: hydra/launcher=slurm and hydra/launcher=local. (Hydra looks for plugins here.)

hydra-submitit-launcher makes the jobs. Beyond it: the report is made even where a job fails; a job that is to be
requeued has saved what it had; clusters without accounting do not hang; local jobs run a few at a time.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher

if TYPE_CHECKING:
    import submitit

POLL = 1.0  # seconds between two looks at the jobs
_OWN = ("submitit_folder", "max_num_timeout", "parallel", "python")  # not parameters of a job


class _Launcher(BaseSubmititLauncher):
    """Submits a job per point, waits for all of them and notes which failed in memlab's session."""

    def __call__(self, *arguments: Any, **options: Any) -> JobReturn:
        """The job itself, on the machine that it was given."""
        from submitit.helpers import TorchDistributedEnvironment

        from memlab.processes import ranks
        from memlab.processes.signals import Stopped
        from memlab.processes.slurm import goes_on_later

        environment = TorchDistributedEnvironment()
        if environment.world_size > 1:
            environment.export(set_cuda_visible_devices=False, overwrite=True)  # a rank takes the GPU of its number
            ranks.silence_others()
        handler = signal.getsignal(signal.SIGUSR2)  # submitit's, which has the job run again
        try:
            return super().__call__(*arguments, **options)
        except Stopped as stopped:
            if callable(handler) and goes_on_later(stopped):
                handler(signal.SIGUSR2, None)  # ends the process of rank 0
                time.sleep(600)  # the others are ended with it
            ranks.wait_for_first()
            raise SystemExit(stopped.status) from None

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from hydra.core.singleton import Singleton

        from memlab.progress import Bars, console
        from memlab.sweep import session

        assert self.config is not None
        waiting = [
            (list(overrides), "hydra.sweep.dir", number, f"point {number}", Singleton.get_state())
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        jobs: list[submitit.Job[JobReturn]] = []
        with Bars() as bars:
            bar = bars.bar("sweep", len(waiting))
            while waiting or not all(job.done() for job in jobs):
                new = self._submit(waiting, [job for job in jobs if not job.done()])
                for job in new:
                    console.print(f"submitted {self._EXECUTOR} job {job.job_id}; log: {_log(job)}", markup=False)
                jobs += new
                bar.update(sum(job.done() for job in jobs), f"{len(jobs)} submitted")
                time.sleep(POLL)
        failures = [_failure(job) for job in jobs]
        for message in filter(None, failures):
            print(f"error: {message}", file=sys.stderr)
            session.failures.append(message)
        return [_returned(message) for message in failures]

    def _submit(self, waiting: list[tuple[Any, ...]], running: "list[submitit.Job[JobReturn]]") -> list[Any]:
        """Submits of `waiting` what may run now, and takes it out of there."""
        raise NotImplementedError

    def _executor(self, kind: Any, **parameters: Any) -> Any:
        """An executor of submitit with the launcher's parameters and these."""
        own = {key: self.params[key] for key in ("python", "max_num_timeout") if self.params.get(key) is not None}
        executor = kind(self.params["submitit_folder"], **own)
        given = {key: value for key, value in self.params.items() if key not in _OWN and value is not None}
        executor.update_parameters(**given | parameters)
        return executor


class SlurmLauncher(_Launcher):
    """All points as one array."""

    _EXECUTOR = "slurm"

    def _submit(self, waiting: list[tuple[Any, ...]], running: "list[submitit.Job[JobReturn]]") -> list[Any]:
        if not waiting:
            return []
        from submitit.core.utils import FailedJobError
        from submitit.slurm.slurm import SlurmExecutor, SlurmJob

        from memlab.processes.slurm import QueueWatcher

        SlurmJob.watcher = QueueWatcher(delay_s=30)
        points, waiting[:] = list(waiting), []
        try:
            return self._executor(SlurmExecutor).map_array(self, *zip(*points, strict=True))
        except (RuntimeError, FailedJobError) as error:  # no srun here, or what sbatch says
            print(f"error: SLURM does not take the jobs: {error}", file=sys.stderr)
            raise SystemExit(1) from None  # Hydra would show the way to an ordinary exception


class LocalLauncher(_Launcher):
    """A process per point on this machine, `parallel` at a time, each with GPUs of its own."""

    _EXECUTOR = "local"

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self._slots: dict[str, int] = {}  # of running jobs

    def _submit(self, waiting: list[tuple[Any, ...]], running: "list[submitit.Job[JobReturn]]") -> list[Any]:
        from submitit.local.local import LocalExecutor

        self._slots = {job.job_id: self._slots[job.job_id] for job in running}
        free = sorted(set(range(self.params["parallel"])) - set(self._slots.values()))
        gpus = self.params["gpus_per_node"] or 0
        new = []
        for slot in free[: len(waiting)]:
            own_gpus = list(range(slot * gpus, (slot + 1) * gpus))
            job = self._executor(LocalExecutor, visible_gpus=own_gpus).submit(self, *waiting.pop(0))
            self._slots[job.job_id] = slot
            new.append(job)
        return new


def _failure(job: "submitit.Job[JobReturn]") -> str | None:
    """What went wrong in a job; None if nothing did."""
    from submitit.core.utils import UncompletedJobError

    try:
        outcome, result = job.task(0)._get_outcome_and_result()
    except UncompletedJobError:
        return f"job {job.job_id} ended without a result ({job.state}): see {_log(job)}"
    except Exception as error:  # whatever unpickling may raise
        return f"job {job.job_id}: its result cannot be read ({error!r}): see {_log(job)}"
    if outcome == "error":
        return f"job {job.job_id}: {str(result).strip().splitlines()[-1]}: see {_log(job)}"
    if result.status != JobStatus.COMPLETED:
        return f"job {job.job_id}: {result._return_value!r}: see {_log(job)}"
    return None if result.return_value is None else f"job {job.job_id}: {result.return_value}"


def _returned(failure: str | None) -> JobReturn:
    return JobReturn(status=JobStatus.COMPLETED, _return_value=failure)


def _log(job: "submitit.Job[JobReturn]") -> str:
    return os.path.relpath(Path(job.task(0).paths.stderr).with_suffix(".*"))

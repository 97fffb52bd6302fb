"""What memlab asks SLURM: the state of jobs, whether a job is being preempted, and to requeue it."""

import os
import re
import subprocess
import time

from submitit.slurm.slurm import SlurmInfoWatcher

from memlab.processes.signals import Stopped

GONE = "GONE"  # our name for a job that the controller has forgotten, as it does some minutes after a job ends
# NODE_FAIL and PREEMPTED are not here: such a job may be requeued a moment later. If it is not, it becomes GONE.
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY", "REVOKED", GONE)


class QueueWatcher(SlurmInfoWatcher):
    """Job states from squeue, which every cluster has.

    submitit asks sacct, which knows no job on a cluster without accounting: it would wait forever for a dead job.
    """

    def _make_command(self) -> list[str] | None:
        arrays = sorted({job.split("_")[0] for job in self._registered - self._finished})
        if not arrays:
            return None
        jobs = f"--jobs={','.join(arrays)}"
        return ["squeue", "--all", "--states=all", "--array", "--noheader", "--format=%i|%T|%N", jobs]

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Whether the job has ended. submitit takes unknown states, such as CONFIGURING or SUSPENDED, for an end."""
        return self.get_state(job_id, mode=mode).upper() in ENDED

    def update(self) -> None:
        command = self._make_command()
        if command is None:
            return
        self._num_calls += 1
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0 or "Invalid job id" in answer.stderr:  # squeue's answer for a single job that is gone
            gone = {job: {"JobID": job, "State": GONE} for job in self._registered - self._finished}
            self._info_dict.update(gone | self.read_info(answer.stdout))
        self._last_status_check = time.time()
        self._finished |= {job for job in self._registered - self._finished if self.is_done(job, mode="cache")}

    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        text = string if isinstance(string, str) else string.decode()
        lines = [line.split("|") for line in text.splitlines() if line.count("|") == 2]
        return {job: {"JobID": job, "State": state, "NodeList": nodes} for job, state, nodes in lines}


def goes_on_later(stopped: Stopped) -> bool:
    """Whether the SLURM job of this process should be requeued.

    A preemption may send TERM, as scancel does, so SLURM is asked which of the two it was.
    """
    job = _this_job()
    if stopped.asks_for_requeue or job is None:
        return stopped.asks_for_requeue
    return re.search(r"\bPreemptTime=\d", _scontrol("--oneliner", "show", "job", job) or "") is not None


def requeue() -> bool:
    """Requeue the SLURM job of this process. Return whether there is one and SLURM agreed."""
    job = _this_job()
    return job is not None and _scontrol("requeue", job) is not None


def _this_job() -> str | None:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array is not None else os.environ.get("SLURM_JOB_ID")


def _scontrol(*arguments: str) -> str | None:
    """Return scontrol's output; None if it fails or is missing, as in a container."""
    try:
        return subprocess.run(["scontrol", *arguments], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None

"""What memlab asks of SLURM."""

import os
import subprocess
import time

from submitit.slurm.slurm import SlurmInfoWatcher

GONE = "GONE"  # state of a job that the controller has forgotten, as it does some minutes after a job's end


class QueueWatcher(SlurmInfoWatcher):
    """States of jobs from squeue, which every cluster has.

    submitit asks sacct, which without accounting knows no job, so that it would wait for a dead one for ever.
    """

    def _make_command(self) -> list[str] | None:
        arrays = sorted({job.split("_")[0] for job in self._registered - self._finished})
        if not arrays:
            return None
        return ["squeue", "--states=all", "--array", "--noheader", "--format=%i|%T|%N", f"--jobs={','.join(arrays)}"]

    def update(self) -> None:
        command = self._make_command()
        if command is None:
            return
        self._num_calls += 1
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0 or "Invalid job id" in answer.stderr:  # that of a single job, long gone
            gone = {job: {"JobID": job, "State": GONE} for job in self._registered - self._finished}
            self._info_dict.update(gone | self.read_info(answer.stdout))
        self._last_status_check = time.time()
        self._finished |= {job for job in self._registered - self._finished if self.is_done(job, mode="cache")}

    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        text = string if isinstance(string, str) else string.decode()
        lines = [line.split("|") for line in text.splitlines() if line.count("|") == 2]
        return {job: {"JobID": job, "State": state, "NodeList": nodes} for job, state, nodes in lines}


def requeue() -> bool:
    """Puts the SLURM job that this process is in back into the queue; whether there is one."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return False
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array is not None:
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0

"""The end of a command that a signal has stopped, or that starts again."""

import os
import sys
from typing import NoReturn

from memlab.processes import ranks
from memlab.processes.machine import wait_without_spinning
from memlab.processes.signals import RESTART, Stopped
from memlab.processes.spawn import this_command


def end(stopped: Stopped) -> NoReturn:
    """End after a signal, with everything saved; in a SLURM job, go back into the queue if the signal asks for that.

    A command that asked to be restarted becomes the same command again, with threads that do not spin.
    """
    if stopped.signum == RESTART:
        print("other processes need the cores: going on with threads that do not spin", file=sys.stderr)
        wait_without_spinning(os.environ)
        sys.stdout.flush()  # the new program knows nothing of what is still to be written
        os.execv(sys.executable, this_command())
    if ranks.is_first():
        from memlab.processes.slurm import goes_on_later, requeue

        again = goes_on_later(stopped) and requeue()
        how = "the job is in the queue again" if again else "run the same command again: it resumes from there"
        print(f"{stopped}, everything is saved; {how}", file=sys.stderr)
    ranks.wait_for_first()
    raise SystemExit(stopped.status)

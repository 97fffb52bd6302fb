"""Run commands as processes on this machine: one, or one per device where trainer.devices > 1.

Beyond what torchrun does, the signals that ask for a checkpoint reach every process, and a user's mistake ends with a
single message.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from memlab.errors import UserError
from memlab.processes import ranks
from memlab.processes.signals import ENDING

GRACE = 30.0  # seconds that the other ranks get to end by themselves once one has failed


def run_ranks(command: Sequence[str], count: int) -> int:
    """Run `command` as `count` ranks and return the exit status: the first that is not 0, if any."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GROUP_RANK": "0"}
    return _finish([_started(command, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(count)])


def start_here(devices: int, nodes: int) -> None:
    """Start a process per device of this machine and end with them, unless this is one of them.

    Raises UserError if other processes were started than the devices of all nodes need.
    """
    ranks.adopt_slurm(devices * nodes)
    if ranks.world() == devices * nodes:
        ranks.silence_others()
        return
    if ranks.world() > 1 or nodes > 1:
        raise UserError(
            f"trainer.devices={devices} and trainer.nodes={nodes}, but {ranks.world()} processes were started: take"
            " hydra/launcher=slurm, or start one process per device with srun or torchrun"
        )
    raise SystemExit(run_ranks(this_command(), devices))


def run(command: Sequence[str]) -> int:
    """Run `command` and return its exit status: 128 plus the signal's number if a signal ended it."""
    return _finish([_started(command)])


def _started(command: Sequence[str], **more: str) -> "subprocess.Popen[bytes]":
    # In a process group of its own, so that a terminal's Ctrl-C arrives once, through this process: a second one would
    # interrupt the saving.
    return subprocess.Popen(command, env={**os.environ, **more}, process_group=0)


def _finish(processes: Sequence["subprocess.Popen[bytes]"]) -> int:
    def forward(signum: int, frame: FrameType | None) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signum)

    before = {signum: signal.signal(signum, forward) for signum in (*ENDING, signal.SIGHUP)}
    status = 0
    while status == 0 and any(process.poll() is None for process in processes):
        time.sleep(0.05)
        status = next((code for p in processes if (code := p.poll())), 0)
    _end(processes)
    for signum, handler in before.items():
        signal.signal(signum, handler)
    return status if status >= 0 else 128 - status


def _end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """End the processes that are left. If one rank dies, the others would wait for it forever."""
    limit = time.monotonic() + GRACE
    while any(process.poll() is None for process in processes) and time.monotonic() < limit:
        time.sleep(0.05)
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def this_command() -> list[str]:
    """Return the command that was typed, as arguments for this interpreter."""
    return [sys.executable, "-m", "memlab.run", *sys.argv[1:]]

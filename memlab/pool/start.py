"""The process that workers are forked from; without torch."""

import signal
from multiprocessing import forkserver, get_context

CONTEXT = get_context("forkserver")


def start_importing() -> None:
    """Start the process that workers are forked from, which imports what they need while this one goes on."""
    CONTEXT.set_forkserver_preload(["memlab.pool.worker"])
    # Ctrl-C reaches every process of a terminal: workers leave it to the command, which tells each of them once.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

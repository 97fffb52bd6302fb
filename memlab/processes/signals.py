"""Signals that end a command: a stage in training is saved first, at the end of its step; all else stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# SLURM sends USR1 or USR2, as configured, before a time limit or a preemption; scancel sends TERM; Ctrl-C sends INT.
REQUEUE = (signal.SIGUSR1, signal.SIGUSR2)
ENDING = (*REQUEUE, signal.SIGTERM, signal.SIGINT)
RESTART = 1000  # no signal's number: the command itself asks to be started again


class Stopped(BaseException):
    """A signal ended the work, and everything is saved. Not an Exception, so that nobody handles it as an error."""

    def __init__(self, signum: int) -> None:
        super().__init__("restarted" if signum == RESTART else f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def asks_for_requeue(self) -> bool:
        """Whether the job should be requeued rather than end for good."""
        return self.signum in REQUEUE

    @property
    def status(self) -> int:
        """The exit status by shell convention: 128 plus the signal's number."""
        return 128 + self.signum


class Signals:
    """While `listening`, a signal raises Stopped; while `deferred`, it is kept in `pending` until the work is saved."""

    def __init__(self) -> None:
        self.pending: int | None = None
        self.restartable = False  # whether whoever handles Stopped can start the command again
        self._deferred = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals during the body, then restore the earlier handlers. Do nothing outside the main thread."""
        if self._before or threading.current_thread() is not threading.main_thread():
            yield
            return
        self.pending = None
        self._before = {signum: signal.getsignal(signum) for signum in ENDING}
        self.install()
        try:
            yield
        finally:
            for signum, handler in self._before.items():
                signal.signal(signum, handler)
            self._before = {}

    def install(self) -> None:
        """Reinstall our handlers after a library has replaced them."""
        for signum in self._before:
            signal.signal(signum, self._receive)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Keep signals in `pending` during the body; raise Stopped at its end for one that nobody has raised."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.pending is not None:
            raise Stopped(self.pending)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and self.pending == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C: stop at once
        if self.pending not in REQUEUE:  # a preemption may send TERM as well; it stays a preemption
            self.pending = signum
        if not self._deferred:
            raise Stopped(self.pending or signum)


signals = Signals()


def leave_to_parent(_: int = 0) -> None:
    """Ignore the signals in a process that loads data: they reach the whole group, and training still needs batches."""
    for signum in ENDING:
        signal.signal(signum, signal.SIG_IGN)

"""Signals that end a command. What is being trained is saved first, at the end of its step; the rest stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# SLURM says USR1 or USR2, as it was told to, ahead of a time limit or a preemption; scancel says TERM; Ctrl-C is INT.
REQUEUE = (signal.SIGUSR1, signal.SIGUSR2)
ENDING = (*REQUEUE, signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """A signal ended the work, and all is saved. Not an Exception: nothing on the way up may take it for an error."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def asks_for_requeue(self) -> bool:
        """Whether the job is to go on later, rather than to end for good."""
        return self.signum in REQUEUE

    @property
    def status(self) -> int:
        """The exit status that shells know it by."""
        return 128 + self.signum


class Signals:
    """While `listening`, a signal raises Stopped; while `deferred`, it waits in `pending` for who can save."""

    def __init__(self) -> None:
        self.pending: int | None = None
        self._deferred = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The handlers that were there before come back at the end. Does nothing outside of the main thread."""
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
        """Once more, where a library has put handlers of its own in front since."""
        for signum in self._before:
            signal.signal(signum, self._receive)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Raises Stopped at the end, if a signal came and nothing has raised it before."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.pending is not None:
            raise Stopped(self.pending)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and self.pending == signal.SIGINT:
            raise KeyboardInterrupt  # asked for a second time: at once
        if self.pending not in REQUEUE:  # a preemption may say TERM besides: it is one all the same
            self.pending = signum
        if not self._deferred:
            raise Stopped(self.pending or signum)


signals = Signals()

"""A worker: a process that finishes stages for the command that started it."""

import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import torch

from memlab import progress
from memlab.config.stage import Job, Stage
from memlab.errors import explain, is_disk_trouble
from memlab.processes.cpu import prepare_cpu
from memlab.processes.signals import Stopped
from memlab.progress import Bar
from memlab.training.chain import BusyError, run_chain
from memlab.training.pace import seconds_per_step


@dataclass(frozen=True)
class Finish:
    """Order: finish a stage. wait: also where another command works on that stage."""

    jobs: Sequence[Job]
    wait: bool

    def __call__(self) -> "Ended":
        try:
            run_chain(self.jobs, None, self.wait)
        except BusyError:
            return Ended(busy=True)
        except Exception as error:
            message = explain(error)
            if message is None:
                traceback.print_exc()
                message = f"{self.jobs[0].folder.path.name}: {type(error).__name__}: {error} (its traceback is above)"
            return Ended(failure=message, for_all=is_disk_trouble(error))
        return Ended()


@dataclass(frozen=True)
class Time:
    """Order: measure the seconds of a training step."""

    stage: Stage
    threads: int

    def __call__(self) -> "Ended":
        return Ended(seconds=seconds_per_step(self.stage, self.threads))


@dataclass(frozen=True)
class Ended:
    """Reply: an order was carried out, or what stopped it. for_all: other stages would fail in the same way."""

    busy: bool = False
    failure: str | None = None
    for_all: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Line:
    """Reply: a line that was printed."""

    text: str
    is_error: bool


@dataclass(frozen=True)
class Said:
    """Reply: a line that a command says once, whichever of its workers says it."""

    topic: str
    text: str


@dataclass(frozen=True)
class Moved:
    """Reply: how far a stage is."""

    done: float
    note: str


def work(connection: Connection, threads: int, gpu: str | None) -> None:
    """Carry out orders from the other end of `connection` until it is closed.

    A signal ends the worker, as it ends any command of memlab: with a checkpoint. So does the end of the process that
    gives the orders, whatever ended it.
    """
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    send = _sender(connection)
    sys.stdout = _Printed(lambda line: send(Line(line, is_error=False)))
    sys.stderr = _Printed(lambda line: send(Line(line, is_error=True)))
    progress.report_to(lambda bar: send(_moved(bar)), lambda topic, text: send(Said(topic, text)))
    orders: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, orders), daemon=True).start()
    prepare_cpu()
    torch.set_num_threads(threads)
    while True:
        order = orders.get()
        try:
            send(order())
        except Stopped as stopped:
            raise SystemExit(stopped.status) from None


def _moved(bar: Bar) -> Moved:
    return Moved(bar.done, bar.note)


def _sender(connection: Connection) -> Callable[[Any], None]:
    """Return what sends replies, from any thread. Nobody reads the replies of a worker whose command has ended."""
    lock = threading.Lock()

    def send(reply: Any) -> None:
        try:
            with lock:
                connection.send(reply)
        except OSError:
            pass

    return send


def _receive(connection: Connection, orders: "SimpleQueue[Any]") -> None:
    """Queue the orders. Their end ends this process, after a checkpoint."""
    try:
        while True:
            orders.put(connection.recv())
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


class _Printed(io.TextIOBase):
    """A text stream that passes whole lines on."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._on_line(line)
        return len(text)

    def writable(self) -> bool:
        return True

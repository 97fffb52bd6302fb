"""The command's side of its workers: it hands out stages, shows their progress, and collects what failed."""

import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import connection
from typing import Any

from memlab.config.stage import Chain
from memlab.pool.layout import Layout
from memlab.pool.start import CONTEXT
from memlab.pool.tasks import Task, Tasks
from memlab.pool.worker import Ended, Finish, Line, Moved, Said, Time, work
from memlab.processes.signals import Stopped, signals
from memlab.progress import Bar, Bars, console, say_once
from memlab.training.estimate import operations_left, steps_left

POLL = 1.0  # seconds between two looks at a stage that another command works on
DEATHS = 3  # of workers at one stage without a new checkpoint: the stage is given up


class Worker:
    """A worker process, and the stage that it works on."""

    def __init__(self, number: int, threads: int, gpu: str | None, bar: Bar | None = None) -> None:
        self.number = number
        self.bar = bar
        self.task: Task | None = None
        self.steps_left = 0
        self.connection, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=work, args=(theirs, threads, gpu), name=f"worker {number}")
        self.process.start()
        theirs.close()

    def order(self, order: Any) -> None:
        with suppress(OSError):  # it has died: `replies` says so
            self.connection.send(order)

    def replies(self) -> "list[Ended | None]":
        """Show what the worker has said; return the ends of its orders, and None at last if it has died."""
        ends: list[Ended | None] = []
        try:
            while self.connection.poll():
                reply = self.connection.recv()
                if isinstance(reply, Line):
                    _print(reply.text, reply.is_error)
                elif isinstance(reply, Said):
                    say_once(reply.topic, reply.text)
                elif isinstance(reply, Moved):
                    self._move(reply)
                else:
                    ends.append(reply)
        except (EOFError, OSError):
            ends.append(None)
        return ends

    def stop(self) -> None:
        """Tell the worker to save and to end."""
        if self.process.is_alive():
            self.process.terminate()

    def kill(self) -> None:
        if self.process.is_alive():
            self.process.kill()

    def _move(self, moved: Moved) -> None:
        if self.bar is not None:
            self.bar.update(moved.done, moved.note)


def run_in_workers(chains: Sequence[Chain], layout: Layout, gpus: Sequence[str]) -> list[str]:
    """Finish the stages of all chains in `layout.workers` processes; return the messages of what failed.

    A failure does not stop the stages that do not need the failed one, unless they would fail as well (a full disk).
    Raises memlab.processes.signals.Stopped after a signal, when all workers have saved and ended.
    """
    return _Pool(chains, layout, gpus).run()


def measure_together(orders: Sequence[Time]) -> list[float]:
    """Return the seconds per step of each order, measured in as many processes at the same time."""
    workers = [Worker(number, order.threads, None) for number, order in enumerate(orders)]
    try:
        for worker, order in zip(workers, orders, strict=True):
            worker.order(order)
        return [_seconds(worker) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.process.join()


def _seconds(worker: Worker) -> float:
    while True:
        connection.wait([worker.connection])
        for end in worker.replies():
            return end.seconds if end is not None else float("inf")


class _Pool:
    def __init__(self, chains: Sequence[Chain], layout: Layout, gpus: Sequence[str]) -> None:
        self.tasks = Tasks(chains, operations_left)
        self.layout = layout
        self.gpus = gpus
        self.workers: list[Worker] = []
        self.failures: list[str] = []
        self.deaths: dict[Task, int] = {}

    def run(self) -> list[str]:
        total = sum(task.cost for task in self.tasks.all)
        with Bars() as bars:
            self.whole = bars.bar("sweep", total)
            count = min(self.layout.workers, len(self.tasks.all))
            own = [bars.bar(f"worker {number}", 1.0) for number in range(count)]
            try:
                self.workers = [self._worker(number, bar) for number, bar in enumerate(own)]
                while not self.tasks.over:
                    self._hand_out()
                    self._listen(POLL)
                self._end(Worker.stop)
            except Stopped:
                self._wait_for_checkpoints()
                raise
            finally:  # after an error of this process, or a second Ctrl-C
                self._end(Worker.kill)
        return self.failures

    def _worker(self, number: int, bar: Bar | None) -> Worker:
        gpu = self.gpus[number % len(self.gpus)] if self.gpus else None
        return Worker(number, self.layout.threads, gpu, bar)

    def _hand_out(self) -> None:
        for worker in self.workers:
            if worker.task is None and (found := self.tasks.take()) is not None:
                task, wait = found
                worker.task, worker.steps_left = task, steps_left(task.jobs[0])
                steps = task.jobs[0].stage.training["steps"]
                if worker.bar is not None:
                    worker.bar.start_again(task.name, steps, steps - worker.steps_left)
                worker.order(Finish(task.jobs, wait))

    def _listen(self, seconds: float) -> None:
        """Wait for the workers, at most so many seconds, and take in what they say."""
        ready = connection.wait([worker.connection for worker in self.workers], seconds)
        for worker in list(self.workers):
            if worker.connection in ready:
                for end in worker.replies():
                    self._take_in(worker, end)
        self.whole.update(self._done(), self._note())

    def _take_in(self, worker: Worker, end: Ended | None) -> None:
        task, worker.task = worker.task, None
        if worker.bar is not None:
            worker.bar.start_again("idle", 1.0)
        if end is None:
            self._replace(worker, task)
        elif task is None:
            return
        elif end.busy:
            console.print(f"{task.name}: another command works on it: put off", markup=False)
            self.tasks.end(task, self.tasks.put_off)
        elif end.failure is not None:
            self._fail(task, end.failure)
            if end.for_all:
                self.tasks.waiting.clear()
                self.tasks.put_off.clear()
        else:
            self.tasks.end(task, self.tasks.finished)

    def _replace(self, dead: Worker, task: Task | None) -> None:
        """Start a worker in the place of a dead one. Its stage starts again at its last checkpoint."""
        dead.process.join()
        self.workers[self.workers.index(dead)] = self._worker(dead.number, dead.bar)
        if task is None:
            return
        how = f"its process ended with status {dead.process.exitcode}"
        if dead.process.exitcode == -signal.SIGKILL:
            how = "its process was killed, perhaps for want of memory"
        further = steps_left(task.jobs[0]) < dead.steps_left
        self.deaths[task] = 1 if further else self.deaths.get(task, 0) + 1
        if self.deaths[task] == DEATHS:
            self._fail(task, f"{task.name}: {how}, {DEATHS} times: lower hydra.launcher.parallel, or see the log above")
        else:
            console.print(f"{task.name}: {how}: it goes on from its last checkpoint", markup=False)
            self.tasks.end(task, self.tasks.waiting)

    def _fail(self, task: Task, message: str) -> None:
        lost = len(self.tasks.failed)
        self.tasks.end(task, self.tasks.failed)
        lost = len(self.tasks.failed) - lost - 1
        more = f"\n{lost} stages that start from it are left out" if lost else ""
        _print(f"error: {message}{more}", is_error=True)
        self.failures.append(message)

    def _done(self) -> float:
        """Return the operations that are done."""
        running = [(worker.task, worker.bar) for worker in self.workers if worker.task is not None]
        ended = sum(task.cost for task in (*self.tasks.finished, *self.tasks.failed))
        return ended + sum(
            task.cost * max(0.0, bar.done - bar.first) / max(1.0, bar.total - bar.first)
            for task, bar in running
            if bar is not None
        )

    def _note(self) -> str:
        tasks = self.tasks
        failed = f", {len(tasks.failed)} failed" if tasks.failed else ""
        return f"{len(tasks.finished)} of {len(tasks.all)} stages, {len(tasks.running)} running{failed}"

    def _wait_for_checkpoints(self) -> None:
        """Tell all workers to save and to end, and wait for them."""
        with signals.deferred():  # a second Ctrl-C raises KeyboardInterrupt
            for worker in self.workers:
                worker.stop()
            for worker in self.workers:
                while worker.process.is_alive():
                    connection.wait([worker.connection, worker.process.sentinel], POLL)
                    if None in worker.replies():
                        worker.process.join()
                worker.replies()

    def _end(self, how: Callable[[Worker], None]) -> None:
        for worker in self.workers:
            how(worker)
        for worker in self.workers:
            worker.process.join()


def _print(text: str, is_error: bool) -> None:
    if is_error:
        print(text, file=sys.stderr)
    else:
        console.print(text, markup=False)

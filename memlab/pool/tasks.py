"""The stages that a sweep has to finish, and which of them comes next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from memlab.config.stage import Chain, Job


@dataclass(eq=False)
class Task:
    """An unfinished stage. Several points may need it; it is trained once.

    jobs: the stage, once per set of evaluations that points ask for. before: the unfinished stages that it starts from;
    after: those that start from it. cost: what is left of it; way: of the longest way from here to a point's end, this
    stage included; both in operations.
    """

    jobs: list[Job]
    cost: float
    way: float = 0.0
    before: "list[Task]" = field(default_factory=list)
    after: "list[Task]" = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.jobs[0].folder.path.name

    @property
    def urgency(self) -> tuple[bool, float]:
        """Stages that others need come first; of two alike, the one with more to do behind it."""
        return bool(self.after), self.way


class Tasks:
    """Hands out the stages of chains: each when those that it starts from are finished, the most urgent first."""

    def __init__(self, chains: Sequence[Chain], cost: Callable[[Job], float]) -> None:
        by_folder: dict[str, Task] = {}
        for chain in chains:
            before = None
            for job in chain.jobs:
                if job.done:
                    continue
                task = by_folder.setdefault(str(job.folder.path), Task([], cost(job)))
                if not any(job.evaluations == other.evaluations for other in task.jobs):
                    task.jobs.append(job)
                if before is not None and before not in task.before:
                    task.before.append(before)
                    before.after.append(task)
                before = task
        self.all = list(by_folder.values())
        for task in reversed(self._ordered()):
            task.way = task.cost + max((later.way for later in task.after), default=0.0)
        self.waiting = list(self.all)
        self.running: list[Task] = []
        self.finished: list[Task] = []
        self.failed: list[Task] = []  # and those that start from a failed one
        self.put_off: list[Task] = []  # another command works on them

    @property
    def over(self) -> bool:
        return not (self.waiting or self.running or self.put_off)

    def take(self) -> tuple[Task, bool] | None:
        """Return the stage to start now, and whether to wait for the command that works on it; None: none can start.

        A stage that was put off is tried again once nothing else can start or is running.
        """
        ready = [task for task in self.waiting if all(before in self.finished for before in task.before)]
        wait = not (ready or self.running)
        if wait:
            ready, self.put_off = self.put_off, []
            self.waiting += ready
        if not ready:
            return None
        task = max(ready, key=lambda task: task.urgency)
        self.waiting.remove(task)
        self.running.append(task)
        return task, wait

    def end(self, task: Task, into: list[Task]) -> None:
        """Move a running stage into `finished`, `failed`, `put_off` or, to be started again, `waiting`."""
        self.running.remove(task)
        into.append(task)
        if into is self.failed:
            for later in task.after:
                self._give_up(later)

    def _give_up(self, task: Task) -> None:
        if task in self.waiting:
            self.waiting.remove(task)
            self.failed.append(task)
        for later in task.after:
            self._give_up(later)

    def _ordered(self) -> list[Task]:
        """Return all stages, each behind those that it starts from."""
        order: dict[Task, None] = {}

        def add(task: Task) -> None:
            for before in task.before:
                add(before)
            order.setdefault(task)

        for task in self.all:
            add(task)
        return list(order)


def in_order(chains: Sequence[Chain], cost: Callable[[Job], float]) -> list[Chain]:
    """Return the chains in the order in which they should start where each is a job of its own.

    A chain whose next stage an earlier one trains would only wait: it comes after those that can start.
    """
    urgency = {task.jobs[0].folder.path: task.urgency for task in Tasks(chains, cost).all}
    unfinished = {id(chain): [job.folder.path for job in chain.jobs if job.folder.path in urgency] for chain in chains}
    begun: set[Path] = set()
    left, order = list(chains), []
    while left:
        free = [chain for chain in left if not begun.intersection(unfinished[id(chain)][:1])]
        chain = max(free or left, key=lambda chain: [urgency[path] for path in unfinished[id(chain)]])
        left.remove(chain)
        order.append(chain)
        begun.update(unfinished[id(chain)])
    return order

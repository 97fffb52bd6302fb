"""The order in which stages are handed out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memlab.pool.tasks import Tasks, in_order

COSTS = {"autoencoder": 5.0, "causal": 4.0, "short": 1.0, "long": 9.0, "copy": 3.0, "blank": 3.0, "second": 3.0}


def job(name: str, *, done: bool = False, evaluations: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(folder=SimpleNamespace(path=Path(name)), done=done, evaluations=evaluations)


def chains(*names: str, done: tuple[str, ...] = ()) -> list[Any]:
    """Return chains such as "autoencoder copy"."""
    return [
        SimpleNamespace(jobs=tuple(job(name, done=name in done) for name in chain.split()), label=chain)
        for chain in names
    ]


def cost(job: Any) -> float:
    return COSTS[job.folder.path.name]


def handed_out(tasks: Tasks, workers: int) -> list[list[str]]:
    """Let workers that all take equally long finish everything; return what ran together."""
    rounds = []
    while not tasks.over:
        together = [found[0] for _ in range(workers) if (found := tasks.take()) is not None]
        rounds.append([task.name for task in together])
        for task in together:
            tasks.end(task, tasks.finished)
    return rounds


def test_what_others_need_comes_first_and_then_the_longest_way() -> None:
    tasks = Tasks(chains("short", "long", "causal copy", "autoencoder blank second"), cost)
    assert handed_out(tasks, 1) == [["autoencoder"], ["causal"], ["blank"], ["long"], ["copy"], ["second"], ["short"]]


def test_nobody_waits_while_something_could_start() -> None:
    tasks = Tasks(chains("autoencoder copy", "autoencoder blank second", "short"), cost)
    assert handed_out(tasks, 2) == [["autoencoder", "short"], ["blank", "copy"], ["second"]]


def test_a_stage_of_several_points_is_handed_out_once_with_all_their_evaluations() -> None:
    points = chains("autoencoder copy", "autoencoder blank", "autoencoder")
    points[2].jobs = (job("autoencoder", evaluations=("score",)),)
    (first, *_) = Tasks(points, cost).all
    assert [one.evaluations for one in first.jobs] == [(), ("score",)]
    assert {task.name for task in first.after} == {"copy", "blank"}


def test_what_is_finished_is_not_handed_out() -> None:
    tasks = Tasks(chains("autoencoder copy", "short", done=("autoencoder", "short")), cost)
    assert handed_out(tasks, 2) == [["copy"]]


def test_what_starts_from_a_failed_stage_fails_and_the_rest_goes_on() -> None:
    tasks = Tasks(chains("autoencoder blank second", "causal copy"), cost)
    first, _ = tasks.take() or pytest.fail()
    tasks.end(first, tasks.failed)
    assert handed_out(tasks, 2) == [["causal"], ["copy"]]
    assert [task.name for task in tasks.failed] == ["autoencoder", "blank", "second"]


def test_a_stage_that_another_command_works_on_is_waited_for_when_nothing_else_is_left() -> None:
    tasks = Tasks(chains("autoencoder", "short"), cost)
    first, wait = tasks.take() or pytest.fail()
    assert (first.name, wait) == ("autoencoder", False)
    tasks.end(first, tasks.put_off)
    short, wait = tasks.take() or pytest.fail()
    assert (short.name, wait) == ("short", False)
    assert tasks.take() is None, "as long as something is running"
    tasks.end(short, tasks.finished)
    assert tasks.take() == (first, True)


def test_jobs_that_would_wait_for_another_job_are_submitted_after_those_that_can_start() -> None:
    points = chains("short", "autoencoder copy", "autoencoder blank second", "causal copy", "long")
    order = [chain.label for chain in in_order(points, cost)]
    assert order == ["autoencoder blank second", "causal copy", "long", "short", "autoencoder copy"]
    assert len(in_order(chains("short", "short", done=("short",)), cost)) == 2

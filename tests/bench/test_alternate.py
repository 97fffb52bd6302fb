"""Arms take turns: each once per round, the first one changing from round to round."""

from collections.abc import Callable

from memlab.bench.alternate import alternate


def recording(log: list[str], name: str) -> Callable[[], dict[str, float]]:
    def task() -> dict[str, float]:
        log.append(name)
        return {"place": float(len(log))}

    return task


def test_every_round_has_every_task_once_and_begins_with_another() -> None:
    log: list[str] = []
    found = alternate({name: recording(log, name) for name in "abc"}, rounds=4)
    assert log == [*"abc", *"bca", *"cab", *"abc"]
    assert found == {"a": {"place": [1, 6, 8, 10]}, "b": {"place": [2, 4, 9, 11]}, "c": {"place": [3, 5, 7, 12]}}


def test_no_round_begins_after_the_time_but_there_is_one() -> None:
    times = iter([0.0, 4.9, 5.0, 99.0])
    found = alternate({"a": lambda: {"x": 1.0}}, rounds=9, most_seconds=5.0, clock=lambda: next(times))
    assert found == {"a": {"x": [1.0, 1.0]}}, "rounds at 0.0 and 4.9 s; none at 5.0 s"
    assert alternate({"a": lambda: {"x": 1.0}}, rounds=1, most_seconds=0.0) == {"a": {"x": [1.0]}}


def test_nothing_to_do_is_no_mistake() -> None:
    assert alternate({}, rounds=2) == {}

"""Measure several things in turns, so that what changes on the machine meanwhile concerns all of them."""

import time
from collections.abc import Callable, Mapping
from itertools import islice

Quantities = Mapping[str, float]


def alternate(
    tasks: Mapping[str, Callable[[], Quantities]],
    rounds: int,
    most_seconds: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, dict[str, list[float]]]:
    """Run every task once per round; return {task: {quantity: [a number per round]}}.

    Each round begins with another task, so that none always follows the same one. After `most_seconds` no further round
    begins; there is at least one round.
    """
    names = list(tasks)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    started = clock()
    for number in range(rounds):
        if number and clock() - started >= most_seconds:
            break
        first = number % max(len(names), 1)
        for name in (*names[first:], *islice(names, first)):
            for quantity, value in tasks[name]().items():
                found[name].setdefault(quantity, []).append(value)
    return found

"""A few of the kills that `make test-faults` makes by the hundred."""

import os
import random

from tests.faults import run


def test_kills_cost_nothing() -> None:
    kills = int(os.environ.get("KILLS", "4"))
    counts = run(kills, random.Random(kills))
    assert counts["kills"] == kills and counts["rounds"] >= 1

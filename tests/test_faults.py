"""A few of the kills that `make test-faults` makes by the hundred."""

import random

import pytest

from tests.faults import run


@pytest.mark.slow  # tests/test_run.py kills the command twice
def test_kills_cost_nothing() -> None:
    counts = run(4, random.Random(4))
    assert counts["kills"] == 4 and counts["rounds"] >= 1

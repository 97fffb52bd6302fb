"""Losses that must not move unnoticed: finished runs are found again by what shaped their weights (tests/golden.py).

`python -m tests.golden` writes the recorded losses anew.

Runs are in double precision, so that another processor's order of summation is lost far behind the tolerance. What may
differ between processors is the first weights, which are drawn in fp32. Moving all of them by up to 1.2e-7 of
themselves, one fp32 rounding, moves no loss of these runs by more than 6e-5. A warm-up of one step less moves every run
by at least 2e-2, a weight decay of 0.01 by at least 3e-4.
"""

from pathlib import Path

import pytest

from tests import golden

TOLERANCE = 2e-4


@pytest.mark.parametrize(("name", "architecture"), golden.RUNS)
def test_losses_are_the_recorded_ones(name: str, architecture: str, corpus: Path, runs: Path) -> None:
    recorded = [line.split() for line in golden.path(name, architecture).read_text().splitlines()]
    measured = [line.split() for line in golden.losses(name, architecture, corpus, runs)]
    assert [line[:2] for line in measured] == [line[:2] for line in recorded]
    for found, expected in zip(measured, recorded, strict=True):
        assert [*map(float, found[2:])] == pytest.approx([*map(float, expected[2:])], abs=TOLERANCE), (
            f"{expected[0]}, step {expected[1]}: initialisation, windows, forward pass, objective, gradient, clipping,"
            " schedule or optimizer changed. If the change was meant, raise WEIGHTS_VERSION in memlab/config/stage.py"
            " and run `python -m tests.golden`."
        )


def test_every_recorded_run_is_compared() -> None:
    assert {path.name for path in golden.FOLDER.iterdir()} == {golden.path(*run).name for run in golden.RUNS}

"""Numbers that must not move unnoticed: finished runs are found again by what shaped their weights."""

import pytest

from memlab.objectives import Objective
from tests import golden


@pytest.mark.parametrize(("kind", "model", "objective"), golden.CASES, ids=lambda value: getattr(value, "name", value))
def test_first_losses_are_the_recorded_ones(kind: str, model: str, objective: type[Objective]) -> None:
    recorded = [float(line) for line in golden.path(kind, model, objective).read_text().split()]
    measured = golden.train(kind, model, objective)
    assert measured == pytest.approx(recorded, abs=1e-5), (
        "Initialisation, forward pass, objective or gradient changed. If the change was meant, raise WEIGHTS_VERSION in"
        " memlab/config/fingerprint.py and regenerate with `python -m tests.golden`."
    )

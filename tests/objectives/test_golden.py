"""Numbers that must not move unnoticed: finished runs are found again by what shaped their weights."""

import pytest

from tests import golden, tiny


@pytest.mark.parametrize("case", golden.CASES, ids="-".join)
@pytest.mark.parametrize("kind", tiny.STACKS)
def test_first_losses_are_the_recorded_ones(kind: str, case: tuple[str, str]) -> None:
    assert golden.train(kind, *case) == pytest.approx(golden.read(kind)[case], abs=1e-5), (
        "Initialisation, forward pass, objective or gradient changed. If the change was meant, raise WEIGHTS_VERSION"
        " and regenerate with `python -m tests.golden`."
    )


@pytest.mark.parametrize("kind", tiny.STACKS)
def test_every_recorded_case_is_tested(kind: str) -> None:
    assert list(golden.read(kind)) == golden.CASES

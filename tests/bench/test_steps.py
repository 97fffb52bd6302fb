"""What memlab.bench.steps undoes: more is computed, and the same comes out."""

import pytest
import torch

from memlab.bench.cases import ARCHITECTURES, Case, Size
from memlab.bench.measure import count_operations
from memlab.bench.models import make_model
from memlab.bench.sides import Memlab
from memlab.bench.steps import UNDONE

SMALL = Size(width=16, layers=2, heads=2, length=6, chunks=4, vocab=24, batch=3)
MORE = ("distinct chunks embedded once", "last encoder block at the memory alone")  # the others save time and memory


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", UNDONE)
def test_undoing_a_part_changes_no_loss_and_costs_operations(name: str, architecture: str) -> None:
    case = Case(SMALL, architecture, "combined", "trainable")
    side = Memlab(case, make_model(case))
    loss, operations = side.loss(0), count_operations(case, "step")
    with UNDONE[name]():
        torch.testing.assert_close(side.loss(0), loss)
        more = count_operations(case, "step")
    assert more > operations if name in MORE else more == operations

"""Norms of gradients, accuracy by place, and statistics of memories, against plain computations."""

import math

import pytest
import torch
from torch import nn

from memlab.training.watched import MOST_MEMORIES, Gradients, Memories, Places, parts, statistics


def test_gradients_are_a_mean_norm_and_the_share_of_clipped_steps() -> None:
    gradients = Gradients(limit=1.0)
    for norm in (0.5, 2.0, 3.5, 1.0):
        gradients.add(torch.tensor(norm))
    assert gradients.take() == {"train/gradient_norm": 1.75, "train/clipped": 0.5}
    assert gradients.take() == {}, "no step since"
    gradients.add(None)
    assert gradients.take() == {}, "clipping is off"


def test_gradients_go_on_from_a_checkpoint() -> None:
    before, resumed = Gradients(limit=1.0), Gradients(limit=1.0)
    for norm in (0.1, 2.7):
        before.add(torch.tensor(norm))
    resumed.load(before.state())
    for gradients in (before, resumed):
        gradients.add(torch.tensor(0.3))
    assert resumed.state().equal(before.state()) and resumed.take() == before.take()
    assert not len(resumed.state())


@pytest.mark.parametrize(
    ("length", "names"),
    [
        (1, ["1"]),
        (8, [*"12345678"]),
        (16, ["01-02", "03-04", "05-06", "07-08", "09-10", "11-12", "13-14", "15-16"]),
        (10, ["01", "02", "03", "04-05", "06", "07", "08", "09-10"]),
    ],
)
def test_a_chunk_has_at_most_eight_parts_that_cover_it(length: int, names: list[str]) -> None:
    found = list(parts(length))
    assert [name for name, _ in found] == names
    assert [place for _, part in found for place in range(length)[part]] == list(range(length))


def test_accuracy_by_place_leaves_out_places_without_scored_tokens() -> None:
    places = Places(3)
    for right in ([0.0, 1.0, 2.0], [0.0, 0.0, 1.0]):
        places.update(torch.tensor([[9.0, 9.0, 9.0], right, [0.0, 2.0, 4.0]]))
    assert places.compute() == {"2": 0.25, "3": 0.375}


def test_statistics_of_memories_that_are_known() -> None:
    """Four orthogonal memories of length 2: their differences span three dimensions of equal variance."""
    found = statistics(2 * torch.eye(4, 6))
    assert found["encoder/norm"] == pytest.approx(2)
    assert found["encoder/effective_rank"] == pytest.approx(3)
    assert found["encoder/nearest_distance"] == pytest.approx(math.sqrt(8))
    along = statistics(torch.arange(5.0)[:, None] * torch.ones(1, 3))
    assert along["encoder/effective_rank"] == pytest.approx(1)
    assert along["encoder/nearest_distance"] == pytest.approx(math.sqrt(3))


def test_more_memories_than_floats_have_the_same_rank() -> None:
    x_RF = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wide = statistics(torch.cat((x_RF, torch.zeros(40, 60, dtype=torch.float64)), dim=1))
    assert statistics(x_RF) == pytest.approx(wide)
    singular = torch.linalg.svdvals(x_RF - x_RF.mean(0))
    share = singular.square() / singular.square().sum()
    assert wide["encoder/effective_rank"] == pytest.approx(torch.exp(-(share * share.log()).sum()).item())


def test_collapsed_and_broken_memories_are_told() -> None:
    same = statistics(torch.ones(6, 3))
    assert same["encoder/effective_rank"] == 0 and same["encoder/nearest_distance"] == 0
    assert all(math.isnan(value) for value in statistics(torch.full((6, 3), torch.nan)).values())


def test_the_encoders_own_pass_is_listened_to_once_per_validation() -> None:
    encoder, memories = nn.Linear(3, 2), Memories()
    assert memories.take() == {}
    memories.listen(encoder)
    first = encoder(torch.randn(2 * MOST_MEMORIES, 1, 3))
    encoder(torch.randn(4, 1, 3))
    assert memories.take() == statistics(first[::2].flatten(1).detach())
    encoder(torch.randn(4, 1, 3))
    assert memories.take() == {}
    memories.listen(None)
    assert memories.take() == {}

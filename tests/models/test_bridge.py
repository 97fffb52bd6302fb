"""What each position of an autoencoder's decoder gets."""

import pytest
import torch

from memlab.models import RepeatBridge, UnrollBridge


@pytest.mark.parametrize("memories", [1, 3])
@torch.no_grad()
def test_unroll_slides_over_half_of_the_features_and_wraps(memories: int) -> None:
    bridge = UnrollBridge(4, 30, memories)
    memory = torch.randn(2, memories, 4)
    features = memory.reshape(2, -1).tolist()
    count = 4 * memories
    windows = [[[row[(t + i) % count] for i in range(count // 2)] for t in range(30)] for row in features]
    torch.testing.assert_close(bridge(memory), bridge.projection(torch.tensor(windows)))


@torch.no_grad()
def test_repeat_gives_every_position_the_same_vector() -> None:
    memory = torch.randn(2, 1, 4)
    out = RepeatBridge(4, 5)(memory)
    assert all(torch.equal(out[:, t], memory[:, 0]) for t in range(5))


@torch.no_grad()
def test_repeat_of_several_memories_projects_them_to_one() -> None:
    bridge = RepeatBridge(4, 5, 2)
    memory = torch.randn(3, 2, 4)
    expected = bridge.projection(torch.cat((memory[:, 0], memory[:, 1]), dim=-1))
    assert all(torch.equal(bridge(memory)[:, t], expected) for t in range(5))


def test_odd_width_cannot_be_unrolled() -> None:
    with pytest.raises(ValueError, match="even width"):
        UnrollBridge(width=5, length=4)

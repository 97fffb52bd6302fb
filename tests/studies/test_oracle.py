"""A decoder that is told about the chunk that it predicts."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from memlab.errors import UserError
from memlab.studies.oracle import WAYS, OracleMemoryModel
from tests import tiny

INPUTS = torch.randint(tiny.VOCAB, (3, tiny.CHUNKS, tiny.LENGTH), generator=torch.Generator().manual_seed(0))
every_way = pytest.mark.parametrize("way", WAYS)
every_kind = pytest.mark.parametrize("kind", tiny.KINDS)
shapes = pytest.mark.parametrize(("memories", "width"), [(1, tiny.WIDTH), (1, 8), (2, tiny.WIDTH), (2, 8)])


def made(kind: str, way: str, memories: int = 1, width: int = tiny.WIDTH) -> OracleMemoryModel:
    torch.manual_seed(0)
    return tiny.oracle(kind, way=way, memories=memories, encoder_width=width).double()


def memories_of(model: OracleMemoryModel) -> torch.Tensor:
    return torch.stack([model.make_memories(INPUTS[:, chunk]) for chunk in range(tiny.CHUNKS)], dim=1)


@every_way
@every_kind
@shapes
@torch.no_grad()
def test_a_chunk_depends_on_itself_alone(way: str, kind: str, memories: int, width: int) -> None:
    model = made(kind, way, memories, width)
    whole = model.hidden(INPUTS, range(tiny.CHUNKS))
    assert whole.shape == (3, tiny.CHUNKS, tiny.LENGTH, tiny.WIDTH)
    changed = INPUTS.clone()
    changed[:, 1, -1] = (changed[:, 1, -1] + 1) % tiny.VOCAB
    differs = (model.hidden(changed, range(tiny.CHUNKS)) - whole).abs().amax((0, 2, 3)) > 1e-9
    assert differs.tolist() == [False, True, False, False]
    early = (model.hidden(changed, range(1, 2)) - whole[:, 1:2]).abs().amax((0, 1, 3))
    assert (early > 1e-9).all(), "the memory tells of the last token at every place"


@every_way
@every_kind
@torch.no_grad()
def test_given_the_memory_no_later_token_matters(way: str, kind: str) -> None:
    model = made(kind, way)
    memories = memories_of(model)
    changed = INPUTS.clone()
    changed[:, :, 3:] = 0
    pair = (model.hidden(of, range(tiny.CHUNKS), memories)[:, :, :3] for of in (INPUTS, changed))
    torch.testing.assert_close(*pair)


@every_way
@every_kind
@shapes
@pytest.mark.parametrize("piece", [1, 4, tiny.LENGTH, 3 * tiny.LENGTH])
@torch.no_grad()
def test_steps_equal_whole_passes(way: str, kind: str, memories: int, width: int, piece: int) -> None:
    model = made(kind, way, memories, width)
    state = model.open(INPUTS[:, :1], memories_of(model))
    steps = [model.step(part, state) for part in INPUTS[:, 1:].flatten(1).split(piece, dim=1)]
    expected = model.hidden(INPUTS, range(1, tiny.CHUNKS)).flatten(1, 2)
    torch.testing.assert_close(torch.cat(steps, dim=1), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_ways_are_what_they_say() -> None:
    inputs = INPUTS[:, :1]
    model = made("mixer", "sum")
    assert isinstance(model.projection, nn.Identity)
    memory = model.make_memories(inputs[:, 0])
    told = model.decoder.embed(inputs[:, 0]) + memory
    torch.testing.assert_close(model.hidden(inputs, range(1))[:, 0], model.decoder(told))
    model = made("mixer", "features")
    joined = torch.cat((model.decoder.embed(inputs[:, 0]), memory.expand(-1, tiny.LENGTH, -1)), dim=2)
    assert model.joined.in_features == joined.shape[2]
    model = made("mixer", "token")
    slots = torch.cat((model.make_memories(inputs[:, 0]), model.decoder.embed(inputs[:, 0])), dim=1)
    torch.testing.assert_close(model.hidden(inputs, range(1))[:, 0], model.decoder(slots)[:, 1:])


@every_way
@every_kind
@torch.no_grad()
def test_the_control_is_told_nothing(way: str, kind: str) -> None:
    model = tiny.oracle(kind, way=way, with_encoder=False).double()
    assert model.memory_floats == 0 and model.reads(range(2)) == range(0)
    whole = model.hidden(INPUTS, range(tiny.CHUNKS))
    changed = INPUTS.clone()
    changed[:, :, -1] = 0
    torch.testing.assert_close(model.hidden(changed, range(tiny.CHUNKS))[:, :, :-1], whole[:, :, :-1])
    steps = model.step(INPUTS[:, 1:].flatten(1), model.open(INPUTS[:, :1]))
    torch.testing.assert_close(steps, whole[:, 1:].flatten(1, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: tiny.oracle("mixer", way="whisper"),
        lambda: tiny.oracle("mixer").hidden(INPUTS[:, :, :4], range(1)),
        lambda: tiny.oracle("mixer").open(INPUTS),
    ],
)
def test_mistakes_are_named(mistake: Callable[[], object]) -> None:
    with pytest.raises(UserError, match=r"token, features, sum|built for|give them"):
        mistake()

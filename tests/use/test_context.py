"""A context reads token by token what whole passes read, and only ever the last C - 1 chunks."""

import pytest
import torch
from torch import Tensor

from memlab.models import LanguageModel
from memlab.use.context import Context
from tests import tiny
from tests.models.test_decoding import MODELS

LONG = 7  # chunks, of which a model reads the last 4
TOKENS = torch.randint(tiny.VOCAB, (3, LONG, tiny.LENGTH), generator=torch.Generator().manual_seed(0))
NOTHING = TOKENS[:, :0]
every_model = pytest.mark.parametrize("name", [name for name in MODELS if name != "recurrent"])


def made(name: str, kind: str = "mixer") -> LanguageModel:
    torch.manual_seed(0)
    return MODELS[name](kind).double()


def by_whole_passes(model: LanguageModel, chunk: int) -> Tensor:
    """What the head reads at a chunk, (B, L, D): one pass over it and the chunks before that fit."""
    first = max(0, chunk - model.chunks + 1)
    return model.hidden(TOKENS[:, first : chunk + 1], range(chunk - first, chunk - first + 1))[:, 0]


@every_model
@pytest.mark.parametrize("kind", tiny.STACKS)
@pytest.mark.parametrize("piece", [1, 4, LONG * tiny.LENGTH])
@torch.no_grad()
def test_each_chunk_is_read_behind_the_last_ones(name: str, kind: str, piece: int) -> None:
    model = made(name, kind)
    context = Context(model, NOTHING)
    read = torch.cat([context.read(part) for part in TOKENS.flatten(1).split(piece, dim=1)], dim=1)
    expected = torch.cat([by_whole_passes(model, chunk) for chunk in range(LONG)], dim=1)
    torch.testing.assert_close(read, expected, rtol=1e-5, atol=1e-6)


@every_model
@pytest.mark.parametrize("past", [1, 3, 5])
@torch.no_grad()
def test_chunks_of_the_past_need_not_be_read_token_by_token(name: str, past: int) -> None:
    model = made(name)
    context = Context(model, TOKENS[:, :past])
    read = context.read(TOKENS[:, past:].flatten(1))
    expected = torch.cat([by_whole_passes(model, chunk) for chunk in range(past, LONG)], dim=1)
    torch.testing.assert_close(read, expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_recurrent_memory_goes_on_without_end() -> None:
    model = made("recurrent")
    longer = tiny.recurrent("mixer").double()
    longer.load_state_dict(model.state_dict())
    longer.chunks = LONG
    expected = longer.hidden(TOKENS, range(LONG)).flatten(1, 2)
    torch.testing.assert_close(Context(model, NOTHING).read(TOKENS.flatten(1)), expected)
    rest = Context(model, TOKENS[:, :5]).read(TOKENS[:, 5:].flatten(1))
    torch.testing.assert_close(rest, expected[:, 5 * tiny.LENGTH :])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chunk", [0, 1, 5])
@torch.no_grad()
def test_the_first_token_of_a_chunk_is_predicted_one_place_earlier(name: str, chunk: int) -> None:
    """By what a model predicts behind the chunk without its first token: there it was trained to predict."""
    model = made(name)
    context, shifted = (Context(model, TOKENS[:, :chunk]) for _ in range(2))
    assert torch.equal(context.read(TOKENS[:, chunk, :-1])[:, -1], context.next_hidden()), "inside a chunk"
    context.read(TOKENS[:, chunk, -1:])
    expected = shifted.read(TOKENS[:, chunk, 1:])[:, -1]
    for _ in range(2):  # asking changes nothing
        torch.testing.assert_close(context.next_hidden(), expected)
    torch.testing.assert_close(
        context.read(TOKENS[:, chunk + 1]), Context(model, TOKENS[:, : chunk + 1]).read(TOKENS[:, chunk + 1])
    )


@pytest.mark.parametrize("name", ["fixed slots", "variable slots", "two memories"])
@torch.no_grad()
def test_known_memories_stand_for_tokens(name: str) -> None:
    model = made(name)
    assert model.encoder is not None
    memories = torch.stack([model.make_memories(TOKENS[:, chunk]) for chunk in range(2)], dim=1)
    unknown = TOKENS.clone()
    unknown[:, :2] = 0
    encoded: list[int] = []
    hook = model.encoder.register_forward_hook(lambda _, args, out: encoded.append(len(args[0])))
    context = Context(model, unknown[:, :3], memories)
    hook.remove()
    assert encoded == [len(TOKENS)], "the third chunk alone"
    torch.testing.assert_close(context.read(TOKENS[:, 3]), by_whole_passes(model, 3))


@torch.no_grad()
def test_a_full_chunk_becomes_a_memory_and_its_cache_is_dropped() -> None:
    """A token costs itself; the first of a chunk fills the slots anew, of which there are never more than C - 1."""
    model = tiny.memory_model("transformer", slots="variable")
    context = Context(model, NOTHING)
    costs = [
        tiny.positions_computed(model, lambda token=token: context.read(token))
        for token in TOKENS.flatten(1).split(1, dim=1)
    ]
    assert costs[1 : tiny.LENGTH] == [1] * (tiny.LENGTH - 1)
    assert [costs[chunk * tiny.LENGTH] for chunk in range(LONG)] == [1, 2, 3, 4, 4, 4, 4]

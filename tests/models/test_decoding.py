"""Step-by-step decoding of every model: equal to whole passes, and only what is new is computed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.models import LanguageModel, TokenMixer, token_mixer
from memlab.models.token_mixer import StepByStep
from tests import tiny

INPUTS = torch.randint(tiny.VOCAB, (3, tiny.CHUNKS, tiny.LENGTH), generator=torch.Generator().manual_seed(0))


class Shifted(LanguageModel):
    """A model as a user would write it: the head reads the sum of the last two tokens' vectors; no state of its own."""

    can = frozenset({"predict"})

    def __init__(self) -> None:
        super().__init__(vocab=tiny.VOCAB, chunks=tiny.CHUNKS, length=tiny.LENGTH)
        self.embedding = nn.Embedding(tiny.VOCAB, tiny.WIDTH)
        self.head = nn.Linear(tiny.WIDTH, tiny.VOCAB, bias=False)

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        vectors_BTD = self.embedding(inputs_BCL.flatten(1))
        summed_BTD = vectors_BTD + F.pad(vectors_BTD, (0, 0, 1, 0))[:, :-1]
        return summed_BTD.unflatten(1, inputs_BCL.shape[1:])[:, scored.start : scored.stop]


MODELS: dict[str, Callable[[str], LanguageModel]] = {
    "fixed slots": tiny.memory_model,
    "variable slots": lambda kind: tiny.memory_model(kind, slots="variable"),
    "two memories": lambda kind: tiny.memory_model(kind, memories=2),
    "two memories, variable": lambda kind: tiny.memory_model(kind, memories=2, slots="variable"),
    "narrow encoder": lambda kind: tiny.memory_model(kind, encoder_width=8),
    "mixer encoder": lambda kind: tiny.memory_model(kind, encoder_kind="mixer"),
    "transformer encoder": lambda kind: tiny.memory_model(kind, encoder_kind="transformer"),
    "no encoder": lambda kind: tiny.memory_model(kind, with_encoder=False),
    "causal": tiny.causal_lm,
    "recurrent": tiny.recurrent,
    "of a user": lambda kind: Shifted(),
}
every_model = pytest.mark.parametrize("name", MODELS)
every_kind = pytest.mark.parametrize("kind", tiny.STACKS)


def made(name: str, kind: str) -> LanguageModel:
    torch.manual_seed(0)
    return MODELS[name](kind).double()


@every_model
@every_kind
@pytest.mark.parametrize("read", [0, 1, 3])
@pytest.mark.parametrize("piece", [1, 4, tiny.LENGTH, 3 * tiny.LENGTH])
@torch.no_grad()
def test_steps_equal_whole_passes(name: str, kind: str, read: int, piece: int) -> None:
    """From each chunk on, in pieces of several sizes, over the ends of chunks."""
    model = made(name, kind)
    expected = model.hidden(INPUTS, range(tiny.CHUNKS)).flatten(1, 2)[:, read * tiny.LENGTH :]
    state = model.open(INPUTS[:, :read])
    steps = [model.step(part, state) for part in INPUTS[:, read:].flatten(1).split(piece, dim=1)]
    # Rotary angles are fp32.
    torch.testing.assert_close(torch.cat(steps, dim=1), expected, rtol=1e-5, atol=1e-6)


@every_kind
@pytest.mark.parametrize("name", ["narrow encoder", "variable slots", "causal", "recurrent"])
@torch.no_grad()
def test_steps_are_close_to_whole_passes_in_bf16(name: str, kind: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name](kind)
    with torch.autocast("cpu", torch.bfloat16):
        expected = model.hidden(INPUTS, range(1, 3)).flatten(1, 2).float()
        state = model.open(INPUTS[:, :1])
        steps = [model.step(part, state).float() for part in INPUTS[:, 1:3].flatten(1).split(1, dim=1)]
    torch.testing.assert_close(torch.cat(steps, dim=1), expected, rtol=0.1, atol=0.1 * expected.std().item())


@every_kind
@pytest.mark.parametrize("slots", ["fixed", "variable"])
@torch.no_grad()
def test_memories_that_are_known_are_not_made_again(kind: str, slots: str) -> None:
    model = tiny.memory_model(kind, slots=slots)
    assert model.encoder is not None
    memories = torch.stack([model.make_memories(INPUTS[:, chunk]) for chunk in range(2)], dim=1)
    expected = model.hidden(INPUTS[:, :3], range(2, 3))[:, 0]
    read: list[int] = []
    model.encoder.register_forward_hook(lambda module, args, out: read.append(len(args[0])))
    state = model.open(INPUTS[:, :2], memories)
    torch.testing.assert_close(model.step(INPUTS[:, 2], state), expected)
    assert read == []
    model.step(INPUTS[:, 3, :1], state)
    assert read == [len(INPUTS)], "the chunk that was decoded, and no other"


@every_kind
@pytest.mark.parametrize(
    ("name", "slots"),
    [("fixed slots", 4), ("variable slots", 1), ("no encoder", 4), ("recurrent", 1 + 8), ("causal", 6)],
)
@torch.no_grad()
def test_every_position_is_computed_once(name: str, slots: int, kind: str) -> None:
    """Behind one chunk: slots are filled once (the recurrent model reads the chunk), then each token costs itself."""
    model = MODELS[name](kind)
    state: list[Any] = []
    assert tiny.positions_computed(model, lambda: state.append(model.open(INPUTS[:, :1]))) == slots
    for token in INPUTS[:, 1].split(1, dim=1):
        assert tiny.positions_computed(model, lambda token=token: model.step(token, state[0])) == 1


@every_kind
@torch.no_grad()
def test_causal_lm_carries_its_state_over_chunks(kind: str) -> None:
    model = tiny.causal_lm(kind)
    state = model.open(INPUTS[:, :1])
    model.step(INPUTS[:, 1], state)
    assert tiny.positions_computed(model, lambda: model.step(INPUTS[:, 2, :1], state)) == 1


@torch.no_grad()
def test_decoding_more_chunks_than_the_model_has_is_refused() -> None:
    for model in (tiny.memory_model("mixer"), tiny.memory_model("transformer", slots="variable")):
        state = model.open(INPUTS[:, :3])
        model.step(INPUTS[:, 3], state)
        with pytest.raises(ValueError, match="built for up to 4 chunks"):
            model.step(INPUTS[:, 3, :1], state)


def test_autoencoders_do_not_predict_next_tokens() -> None:
    with pytest.raises(AssertionError, match="does not predict"):
        tiny.autoencoder("mixer").open(INPUTS)


def test_defaults_of_a_port_recompute() -> None:
    """A decoder without a state of its own, as an adapter to another library may be."""

    class Plain(TokenMixer):
        calls: list[int]

        def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
            self.calls.append(x_RTD.shape[1])
            return x_RTD.cumsum(1)[:, start:stop]

    mixer = Plain(4)
    assert isinstance(mixer, StepByStep)
    mixer.calls = []
    x = torch.randn(2, 5, 4)
    state = mixer.begin(2)
    steps = torch.cat([mixer.step(part, state) for part in x.split([2, 1, 2], dim=1)], dim=1)
    assert mixer.calls == [2, 3, 5] and mixer.state_size(5) == 20
    torch.testing.assert_close(steps, x.cumsum(1))


@pytest.mark.parametrize("grad", [True, False], ids=["with gradients", "with room"])
def test_a_state_keeps_every_position_it_was_given(grad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room runs out several times; what the state was given stays as it is, and gradients pass through it."""
    monkeypatch.setattr(token_mixer, "ROOM", 2)
    x = torch.randn(2, 9, 3, requires_grad=grad)
    before = x.detach().clone()
    state: dict[str, Tensor] = {}
    with torch.set_grad_enabled(grad):
        for part in x.split([1, 1, 3, 1, 2, 1], dim=1):
            kept = token_mixer.extend(state, "x", part)
    assert torch.equal(kept, before) and torch.equal(x, before) and kept is state["x"]
    if grad:
        kept.sum().backward()
        assert x.grad is not None and torch.equal(x.grad, torch.ones_like(x))


@torch.no_grad()
def test_a_new_position_does_not_move_the_earlier_ones() -> None:
    state: dict[str, Tensor] = {}
    token_mixer.extend(state, "x", torch.zeros(1, 1, 4))
    place = state["x"].data_ptr()
    for _ in range(token_mixer.ROOM):
        token_mixer.extend(state, "x", torch.zeros(1, 1, 4))
    assert state["x"].data_ptr() == place and state["x"].shape == (1, token_mixer.ROOM + 1, 4)

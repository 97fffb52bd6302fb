"""What a memory model's pass over chunk c sees, in which slot, and what is trained."""

from typing import Any

import pytest
import torch

from memlab.models import MemoryModel
from tests import tiny

INPUTS = torch.randint(tiny.VOCAB, (3, tiny.CHUNKS, tiny.LENGTH), generator=torch.Generator().manual_seed(0))
VARIANTS: list[dict[str, Any]] = [
    {},
    {"slots": "variable"},
    {"memories": 2},
    {"memories": 2, "slots": "variable"},
    {"encoder_width": 8},
    {"with_encoder": False},
    {"encoder_kind": "mixer"},
    {"encoder_kind": "transformer"},
]
every_kind = pytest.mark.parametrize("kind", tiny.STACKS)
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)


@every_kind
@every_variant
@torch.no_grad()
def test_passes_equal_slots_laid_out_one_by_one(kind: str, variant: dict[str, Any]) -> None:
    """Row by row, pass by pass: memories of the chunks before, constants up to S, and then the chunk's tokens."""
    model = tiny.memory_model(kind, **variant)
    logits = model(INPUTS)
    for row in range(INPUTS.shape[0]):
        for c in range(tiny.CHUNKS):
            slots: list[torch.Tensor] = []
            for past in range(c):
                if model.encoder is None:
                    slots += [torch.full((tiny.WIDTH,), 0.5)] * model.memories
                else:
                    slots += list(model.projection(model.encoder(INPUTS[row : row + 1, past]))[0])
            if model.slots == "fixed":
                slots += [torch.full((tiny.WIDTH,), 0.5)] * (tiny.CHUNKS * model.memories - len(slots))
            positions = torch.stack([*slots, *model.decoder.embedding(INPUTS[row, c])])
            expected = model.head(model.decoder.stack(positions[None]))[0, len(slots) :]
            torch.testing.assert_close(logits[row, c], expected)


@every_kind
@every_variant
@torch.no_grad()
def test_chunk_is_unaffected_by_later_chunks_and_its_own_future(kind: str, variant: dict[str, Any]) -> None:
    model = tiny.memory_model(kind, **variant)
    logits = model(INPUTS).flatten(1, 2)
    for t in range(tiny.CHUNKS * tiny.LENGTH - 1):
        changed = INPUTS.flatten(1).clone()
        changed[:, t + 1 :] = (changed[:, t + 1 :] + 1) % tiny.VOCAB
        again = model(changed.view(INPUTS.shape)).flatten(1, 2)
        torch.testing.assert_close(again[:, : t + 1], logits[:, : t + 1])


@every_kind
@pytest.mark.parametrize("slots", ["fixed", "variable"])
@torch.no_grad()
def test_every_earlier_chunk_matters(kind: str, slots: str) -> None:
    model = tiny.memory_model(kind, slots=slots).double()
    for past in range(3):
        changed = INPUTS.clone()
        changed[:, past] = (changed[:, past] + 1) % tiny.VOCAB
        assert not torch.allclose(model(changed, range(3, 4)), model(INPUTS, range(3, 4)), rtol=0, atol=1e-12)


@every_kind
@torch.no_grad()
def test_without_encoder_no_earlier_chunk_matters(kind: str) -> None:
    model = tiny.memory_model(kind, with_encoder=False)
    changed = INPUTS.clone()
    changed[:, :3] = 0
    assert torch.equal(model(changed, range(3, 4)), model(INPUTS, range(3, 4)))


@pytest.mark.parametrize(("memories", "width"), [(1, tiny.WIDTH), (2, tiny.WIDTH), (1, 8)])
def test_memories_have_the_decoders_width(memories: int, width: int) -> None:
    model = tiny.memory_model("mixer", memories=memories, encoder_width=width)
    assert model.make_memories(INPUTS[:, 0]).shape == (3, memories, tiny.WIDTH)
    assert model.encoder is not None
    assert model.encoder(INPUTS[:, 0]).shape == (3, memories, width)
    assert sum("projection" in name for name in model.state_dict()) == (2 if width != tiny.WIDTH else 0)


@pytest.mark.parametrize("scored", [range(1), range(2), range(2, 3), range(1, 4)])
def test_only_chunks_before_the_last_scored_are_encoded(scored: range) -> None:
    model = tiny.memory_model("mixer")
    assert model.encoder is not None
    rows: list[int] = []
    model.encoder.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    model(INPUTS, scored)
    assert sum(rows) == 3 * (scored.stop - 1)
    assert len(rows) <= 1


def hidden_past(scored: range) -> torch.Tensor:
    """The inputs, but for other tokens in the chunks before the scored ones."""
    inputs = INPUTS.clone()
    inputs[:, : scored.start] = 0
    return inputs


@pytest.mark.parametrize("slots", ["fixed", "variable"])
@torch.no_grad()
def test_known_memories_change_nothing(slots: str) -> None:
    """They stand for the chunks: what is in these does not matter any more."""
    model = tiny.memory_model("transformer", slots=slots)
    for scored in (range(1, 3), range(4)):
        known = torch.stack([model.make_memories(INPUTS[:, c]) for c in range(scored.stop - 1)], dim=1)
        torch.testing.assert_close(model.hidden(hidden_past(scored), scored, known), model.hidden(INPUTS, scored))


@pytest.mark.parametrize("width", [tiny.WIDTH, 8])
def test_frozen_encoder_gets_no_gradient_and_builds_no_graph(width: int) -> None:
    model = tiny.memory_model("mixer", encoder_width=width)
    assert model.encoder is not None
    model.freeze_encoder(True)
    outputs: list[torch.Tensor] = []
    model.encoder.register_forward_hook(lambda module, args, out: outputs.append(out))
    model(INPUTS).sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is not None for name, p in model.named_parameters() if not name.startswith("encoder."))
    assert [out.grad_fn for out in outputs] == [None]


def test_frozen_encoder_with_a_trainable_embedding_learns_it() -> None:
    model = tiny.memory_model("mixer")
    assert model.encoder is not None
    model.freeze_encoder("blocks")
    model(INPUTS).sum().backward()
    assert model.encoder.embedding.weight.grad is not None
    assert all(p.grad is None for p in model.encoder.stack.parameters())


def test_the_decoder_is_built_for_the_longest_pass() -> None:
    """Slots and tokens: C*M + L positions, without the last chunk's slots where they vary."""
    for slots, positions in (("fixed", 4 * 2 + 6), ("variable", 3 * 2 + 6)):
        assert tiny.memory_model("mixer", memories=2, slots=slots).decoder.stack.length == positions


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"slots": "some"}, "fixed, variable"),
        ({"memories": 2}, "makes 1 memories per chunk, the model has 2"),
        ({"memories": 0}, "memories=0"),
        ({"chunks": 0}, "chunks=0"),
        ({"vocab": 0}, "vocab=0"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    sizes: dict[str, Any] = {"vocab": tiny.VOCAB, "chunks": tiny.CHUNKS, "length": tiny.LENGTH} | changed
    with pytest.raises(ValueError, match=message):
        MemoryModel(encoder=tiny.encoder("mixer"), decoder=tiny.decoder("mixer"), **sizes)


def test_inputs_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="built for up to 4 chunks of 6"):
        tiny.memory_model("mixer")(INPUTS[:, :, :5])

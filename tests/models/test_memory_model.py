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
]
every_kind = pytest.mark.parametrize("kind", tiny.KINDS)
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)


@every_kind
@every_variant
@torch.no_grad()
def test_passes_equal_slots_laid_out_one_by_one(kind: str, variant: dict[str, Any]) -> None:
    """Row by row, pass by pass: [memories of the chunks before | constants up to S] and then the chunk's tokens."""
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
            positions = torch.stack([*slots, *model.embedding(INPUTS[row, c])])
            expected = model.head(model.stack(positions[None]))[0, len(slots) :]
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
    model = tiny.memory_model(kind, slots=slots)
    for past in range(3):
        changed = INPUTS.clone()
        changed[:, past] = (changed[:, past] + 1) % tiny.VOCAB
        assert not torch.allclose(model(changed, range(3, 4)), model(INPUTS, range(3, 4)), rtol=0, atol=1e-7)


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
    assert model.embed(INPUTS[:, 0]).shape == (3, memories, tiny.WIDTH)
    assert model.encode(INPUTS[:, 0]).shape == (3, memories, width)


@pytest.mark.parametrize("scored", [range(1), range(2), range(2, 3), range(1, 4)])
def test_only_chunks_before_the_last_scored_are_encoded(scored: range) -> None:
    model = tiny.memory_model("mixer")
    assert model.encoder is not None
    rows: list[int] = []
    model.encoder.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    model(INPUTS, scored)
    assert sum(rows) == 3 * (scored.stop - 1)
    assert len(rows) <= 1


@pytest.mark.parametrize("slots", ["fixed", "variable"])
@torch.no_grad()
def test_known_memories_change_nothing(slots: str) -> None:
    model = tiny.memory_model("transformer", slots=slots)
    for scored in (range(1, 3), range(4)):
        known = torch.stack([model.embed(INPUTS[:, c]) for c in range(scored.stop - 1)], dim=1)
        torch.testing.assert_close(model.hidden(INPUTS, scored, known), model.hidden(INPUTS, scored))


@pytest.mark.parametrize("width", [tiny.WIDTH, 8])
def test_frozen_encoder_gets_no_gradient_and_builds_no_graph(width: int) -> None:
    model = tiny.memory_model("mixer", encoder_width=width)
    assert model.encoder is not None
    model.encoder.requires_grad_(False)
    outputs: list[torch.Tensor] = []
    model.encoder.register_forward_hook(lambda module, args, out: outputs.append(out))
    model(INPUTS).sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is not None for name, p in model.named_parameters() if not name.startswith("encoder."))
    assert [out.grad_fn for out in outputs] == [None]


def test_frozen_encoder_with_a_trainable_embedding_learns_it() -> None:
    model = tiny.memory_model("mixer")
    assert model.encoder is not None
    model.encoder.stack.requires_grad_(False)
    model(INPUTS).sum().backward()
    assert model.encoder.embedding.weight.grad is not None
    assert all(p.grad is None for p in model.encoder.stack.parameters())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"slots": "some"}, "fixed, variable"),
        ({"memories": 2}, "memories"),
        ({"chunks": 5}, "decoder stack"),
        ({"length": 7}, "encoder stack"),
        ({"chunks": 0}, "chunks=0"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    sizes: dict[str, Any] = {"chunks": tiny.CHUNKS, "length": tiny.LENGTH} | changed
    decoder = tiny.stack("mixer", tiny.CHUNKS + tiny.LENGTH)
    with pytest.raises(ValueError, match=message):
        MemoryModel(tiny.encoder("mixer"), decoder, tiny.VOCAB, **sizes)


def test_inputs_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="built for up to 4 chunks of 6"):
        tiny.memory_model("mixer")(INPUTS[:, :, :5])

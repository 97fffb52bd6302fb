"""What is handed from chunk to chunk, what is seen, and how far back gradients go."""

from typing import Any

import pytest
import torch
from torch import Tensor

from memlab.models import RecurrentMemoryModel
from tests import tiny

INPUTS = torch.randint(tiny.VOCAB, (3, tiny.CHUNKS, tiny.LENGTH), generator=torch.Generator().manual_seed(0))
every_kind = pytest.mark.parametrize("kind", tiny.STACKS)


@every_kind
@torch.no_grad()
def test_chunks_equal_sequences_laid_out_vector_by_vector(kind: str) -> None:
    """Window by window: [memory | tokens | memory], whose last output is the next memory; the first one is learned."""
    model = tiny.recurrent(kind)
    logits = model(INPUTS)
    for row, window in enumerate(INPUTS.tolist()):
        memory = model.first_memory
        for c, chunk in enumerate(window):
            vectors = [memory, *(model.decoder.embedding.weight[token] for token in chunk), memory]
            out = model.decoder.stack(torch.stack(vectors)[None])[0]
            for t in range(tiny.LENGTH):
                torch.testing.assert_close(logits[row, c, t], model.head.weight @ out[1 + t])
            memory = out[1 + tiny.LENGTH]


@every_kind
@torch.no_grad()
def test_later_tokens_change_nothing(kind: str) -> None:
    """One window, changed from each place on: row t of the batch is another text behind token t."""
    model = tiny.recurrent(kind).double()
    window, places = INPUTS[0].flatten(), torch.arange(INPUTS[0].numel())
    changed = torch.where(places > places[:-1, None], (window + 1) % tiny.VOCAB, window)
    logits, again = model(INPUTS[:1]).flatten(1, 2)[0], model(changed.view(-1, *INPUTS.shape[1:])).flatten(1, 2)
    for t in range(len(changed)):
        torch.testing.assert_close(again[t, : t + 1], logits[: t + 1])
        assert not torch.allclose(again[t, t + 1], logits[t + 1], rtol=0, atol=1e-9)


@every_kind
@torch.no_grad()
def test_every_earlier_token_matters(kind: str) -> None:
    """To the last chunk, through one vector: row t of the batch has another token at place t alone."""
    model = tiny.recurrent(kind).double()
    window, places = INPUTS[0].flatten(), torch.arange(INPUTS[0].numel())
    changed = torch.where(places == places[: -tiny.LENGTH, None], (window + 1) % tiny.VOCAB, window)
    last = range(tiny.CHUNKS - 1, tiny.CHUNKS)
    logits, again = model(INPUTS[:1], last), model(changed.view(-1, *INPUTS.shape[1:]), last)
    assert ((again - logits).abs().amax((1, 2, 3)) > 1e-12).all()


def chunks_with_gradient(model: RecurrentMemoryModel, scored: int) -> list[int]:
    """Chunks whose tokens get a gradient from one chunk's logits: no two chunks have a token in common."""
    inputs = torch.arange(tiny.CHUNKS * tiny.LENGTH).view(1, tiny.CHUNKS, tiny.LENGTH)
    assert inputs.max() < tiny.VOCAB
    model(inputs, range(scored, scored + 1)).square().sum().backward()
    gradient = model.decoder.embedding.weight.grad
    assert isinstance(gradient, Tensor)
    reached = gradient[inputs[0]].abs().sum(-1) > 0
    assert all(chunk.all() or not chunk.any() for chunk in reached)
    return reached.any(1).nonzero().flatten().tolist()


@every_kind
@pytest.mark.parametrize(
    ("detach_every", "scored", "reached"),
    [
        (0, 3, [0, 1, 2, 3]),
        (1, 3, [3]),
        (2, 3, [2, 3]),
        (2, 2, [2]),
        (2, 1, [0, 1]),
        (3, 2, [0, 1, 2]),
        (3, 3, [3]),
        (4, 3, [0, 1, 2, 3]),
    ],
)
def test_gradients_go_back_to_where_the_memory_is_detached(
    kind: str, detach_every: int, scored: int, reached: list[int]
) -> None:
    model = tiny.recurrent(kind, detach_every=detach_every)
    assert chunks_with_gradient(model, scored) == reached
    assert (model.first_memory.grad is not None and bool(model.first_memory.grad.any())) == (0 in reached)


@every_kind
@torch.no_grad()
def test_detaching_changes_no_logits(kind: str) -> None:
    model, detached = tiny.recurrent(kind), tiny.recurrent(kind, detach_every=1)
    detached.load_state_dict(model.state_dict())
    assert torch.equal(detached(INPUTS), model(INPUTS))


@pytest.mark.parametrize("std", [0.02, 1.0])
def test_the_first_memory_is_drawn_as_token_vectors_are(std: float) -> None:
    torch.manual_seed(0)
    decoder = tiny.decoder("mixer", width=2000, embedding_std=std)
    model = RecurrentMemoryModel(decoder=decoder, vocab=4, chunks=1, length=2)
    assert model.first_memory.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize(
    ("changed", "message"), [({"detach_every": -1}, "detach_every=-1"), ({"chunks": 0}, "chunks=0")]
)
def test_sizes_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    sizes: dict[str, Any] = {"vocab": tiny.VOCAB, "chunks": tiny.CHUNKS, "length": tiny.LENGTH} | changed
    with pytest.raises(ValueError, match=message):
        RecurrentMemoryModel(decoder=tiny.decoder("mixer"), **sizes)


def test_the_decoder_is_built_for_both_slots() -> None:
    assert tiny.recurrent("mixer").decoder.stack.length == tiny.LENGTH + 2


@pytest.mark.parametrize("inputs", [INPUTS[:, :, :5], torch.cat((INPUTS, INPUTS), dim=1)])
def test_inputs_of_another_shape_are_refused(inputs: Tensor) -> None:
    with pytest.raises(ValueError, match="built for up to 4 chunks of 6"):
        tiny.recurrent("mixer")(inputs)

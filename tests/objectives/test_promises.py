"""What objectives and models promise each other: what is needed, which memories are read, an objective of one's own."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from memlab.errors import UserError
from memlab.models import LanguageModel, MemoryModel
from memlab.objectives import (
    IGNORE,
    Autoencode,
    BlankCopy,
    CausalLanguageModelling,
    Combined,
    Copy,
    Draw,
    Layout,
    Objective,
    Retrieval,
    Table,
)
from tests import tiny

IDS = {"blank": 0, "delimiter": 1}
LAYOUT = Layout(tiny.CHUNKS, tiny.LENGTH)


def batch_for(objective: Objective) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(2, tiny.VOCAB, (5, objective.window(LAYOUT)), generator=generator)


class Oracle(MemoryModel):
    """Reads the memories of the scored chunks themselves."""

    def reads(self, scored: range) -> range:
        return scored

    def hidden(
        self, inputs_BCL: torch.Tensor, scored: range, memories_BcMD: torch.Tensor | None = None
    ) -> torch.Tensor:
        assert memories_BcMD is not None
        self.given = memories_BcMD
        return self.decoder.embed(inputs_BCL[:, scored.start : scored.stop])


@torch.no_grad()
def test_a_model_is_given_the_memories_that_it_reads() -> None:
    """Also of chunks in the middle, and equal chunks embedded once."""
    parts = {"encoder": tiny.encoder("mixer"), "decoder": tiny.decoder("mixer")}
    model = Oracle(**parts, vocab=tiny.VOCAB, chunks=tiny.CHUNKS, length=tiny.LENGTH)
    rows: list[int] = []
    model.encoder.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    objective, tokens = Copy(**IDS), batch_for(Copy(**IDS))
    known = model.make_memories(tokens.view(10, -1)).unflatten(0, (5, 2))
    for given, expected in ((None, [10, 10]), (known[:, :1], [10, 10, 5]), (known, [10, 10, 5])):
        objective.losses(model, tokens, LAYOUT, known_BcMD=given)
        torch.testing.assert_close(model.given, known)
        assert rows == expected


@pytest.mark.parametrize(
    ("objective", "build", "advice"),
    [
        (Autoencode(**IDS), tiny.memory_model, "encoder=frozen_autoencoder"),
        (Retrieval(**IDS), tiny.autoencoder, "encoder=frozen_causal_retrieval"),
        (Copy(**IDS), tiny.chunk_encoder, "choose another objective"),
    ],
    ids=["regenerate", "retrieve", "predict"],
)
def test_a_model_that_cannot_is_refused(
    objective: Objective, build: Callable[[str], LanguageModel], advice: str
) -> None:
    with pytest.raises(ValueError, match=f"needs a model that can {objective.needs}.*{advice}"):
        objective.require(build("mixer"))


@pytest.mark.parametrize("kind", [Copy, Combined])
def test_what_is_decoded_greedily_refuses_a_model_that_must_be_told(kind: Callable[..., Objective]) -> None:
    model = tiny.oracle("mixer")
    with pytest.raises(UserError, match="OracleMemoryModel must be told what it decodes: choose objective=clm"):
        kind(**IDS).require(model)
    CausalLanguageModelling(**IDS).require(model)


def test_a_model_that_can_is_taken() -> None:
    for model in (tiny.memory_model("mixer"), tiny.causal_lm("mixer"), tiny.recurrent("mixer")):
        for objective in (CausalLanguageModelling, Copy, BlankCopy, Combined):
            objective(**IDS).require(model)
    Autoencode(**IDS).require(tiny.autoencoder("mixer"))
    Retrieval(**IDS).require(tiny.chunk_encoder("mixer"))


EVERY: list[tuple[Objective, Callable[[str], LanguageModel]]] = [
    *((kind(**IDS), tiny.memory_model) for kind in (CausalLanguageModelling, Copy, BlankCopy, Combined)),
    (Autoencode(**IDS), tiny.autoencoder),
    (Retrieval(**IDS, ngram=3), tiny.chunk_encoder),
]


@pytest.mark.parametrize(("objective", "build"), EVERY, ids=lambda value: getattr(value, "name", ""))
def test_loss_and_gradient_can_be_had_on_meta(objective: Objective, build: Callable[[str], LanguageModel]) -> None:
    """As the estimate of a stage's cost does: nothing is computed."""
    with torch.device("meta"):
        model = build("transformer")
    loss, _ = objective.losses(model, batch_for(objective).to("meta"), LAYOUT)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


class LastToken(Objective):
    """An objective as a user would write it: only the last token of each chunk is scored."""

    name = "last_token"

    def window(self, layout: Layout) -> int:
        return layout.chunks * layout.length

    def tables(self, tokens_BT: torch.Tensor, layout: Layout, draw: Draw | None = None) -> list[Table]:
        inputs = tokens_BT.view(-1, layout.chunks, layout.length)
        labels = torch.full_like(inputs, IGNORE)
        labels[:, :, -1] = inputs[:, :, -1]
        return [Table(self.name, inputs, labels, range(layout.chunks))]


@pytest.mark.parametrize("build", [tiny.memory_model, tiny.causal_lm, tiny.recurrent])
def test_an_objective_of_ones_own_is_a_class(build: Callable[[str], LanguageModel]) -> None:
    """It says nothing of equal chunks, and each is embedded by itself."""
    objective, model = LastToken(**IDS), build("transformer")
    objective.require(model)
    tokens = batch_for(objective)
    loss, sums = objective.losses(model, tokens, LAYOUT)
    logits = model(tokens.view(5, tiny.CHUNKS, tiny.LENGTH))[:, :, -2]
    torch.testing.assert_close(
        loss, F.cross_entropy(logits.flatten(0, 1), tokens[:, tiny.LENGTH - 1 :: tiny.LENGTH].flatten())
    )
    assert sums["last_token"].count_R.tolist() == [tiny.CHUNKS] * 5

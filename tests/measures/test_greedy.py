"""Greedy decoding: against one token at a time by whole passes, and counted by hand on models made for it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.measures.greedy import free_running_sums
from memlab.models import LanguageModel, StackDecoder
from memlab.objectives import (
    IGNORE,
    Autoencode,
    BlankCopy,
    CausalLanguageModelling,
    Combined,
    Copy,
    Layout,
    Objective,
    Retrieval,
    Table,
    free_running,
)
from tests import tiny

BLANK, DELIMITER = 0, 1
IDS = {"blank": BLANK, "delimiter": DELIMITER}
FEW = 4  # tokens of a vocabulary that even an untrained model often guesses right
MODELS: dict[str, Callable[[str], LanguageModel]] = {
    "fixed": tiny.memory_model,
    "variable": lambda kind: tiny.memory_model(kind, slots="variable"),
    "two memories": lambda kind: tiny.memory_model(kind, memories=2),
    "no memory": lambda kind: tiny.memory_model(kind, with_encoder=False),
    "full context": tiny.causal_lm,
    "recurrent": tiny.recurrent,
    "another encoder": lambda kind: tiny.memory_model(kind, encoder_kind="hybrid", encoder_width=8),
}
LAYOUT = Layout(4, 6)
OBJECTIVES = [Copy(**IDS), Copy(**IDS, delimiter_tokens=True), Combined(**IDS)]


@pytest.fixture
def few_tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tiny, "VOCAB", FEW)
    yield


def by_whole_passes(model: LanguageModel, table: Table) -> tuple[list[int], list[list[int]]]:
    """Tokens generated right, and all tokens in the end: one window and one token at a time, everything read anew."""
    right, written = [], []
    for inputs, labels in zip(table.inputs_BCL.tolist(), table.labels_BCL.tolist(), strict=True):
        right.append(0)
        for chunk in range(len(inputs)):
            for place in range(1, len(inputs[chunk])):
                label = labels[chunk][place]
                if label == IGNORE:
                    continue
                guess = int(model(torch.tensor([inputs]))[0, chunk, place - 1].argmax())
                right[-1] += guess == label
                if inputs[chunk][place] == label:
                    inputs[chunk][place] = guess
        written.append([token for chunk in inputs for token in chunk])
    return right, written


@pytest.mark.usefixtures("few_tokens")
@pytest.mark.parametrize("objective", [Copy(**IDS), Combined(**IDS)], ids=["copy", "combined"])
@pytest.mark.parametrize("kind", tiny.STACKS)
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_counts_are_those_of_whole_passes_token_by_token(name: str, kind: str, objective: Objective) -> None:
    torch.manual_seed(1)
    model = MODELS[name](kind).double()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)  # so that what is read decides what is generated
    tokens = torch.randint(2, FEW, (3, objective.window(LAYOUT)))
    table = objective.tables(tokens, LAYOUT)[-1]
    expected, written = by_whole_passes(model, table)
    sums = free_running_sums(model, objective, tokens, LAYOUT)
    assert sums.keys() == {"copy"}
    assert sums["copy"].correct_R.tolist() == expected
    assert torch.equal(sums["copy"].count_R, (table.labels_BCL != IGNORE).flatten(1).sum(1))
    assert written != table.inputs_BCL.flatten(1).tolist(), "the model reads other tokens than the true ones"


class Rule(LanguageModel):
    """Predicts by a rule from the chunks so far (B, c + 1, L) and the place; keeps the inputs of every pass.

    It has no state of its own: the pass of each step is over everything so far, and blanks up to the chunk's end.
    """

    can = frozenset({"predict"})

    def __init__(self, vocab: int, rule: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__(vocab=vocab, chunks=LAYOUT.chunks, length=LAYOUT.length)
        self.rule = rule
        self.head = nn.Linear(vocab, vocab, bias=False)
        nn.init.eye_(self.head.weight)
        self.read: list[Tensor] = []

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        self.read.append(inputs_BCL.clone())
        length = inputs_BCL.shape[2]
        chunks = [
            torch.stack([self.rule(inputs_BCL[:, : chunk + 1], place) for place in range(length)], 1)
            for chunk in scored
        ]
        return F.one_hot(torch.stack(chunks, 1), self.vocab).float()


def half_a_sequence_back(chunks_BCL: Tensor, place: int) -> Tensor:
    """The next token of the chunk that the last one repeats, in a sequence of four chunks."""
    return chunks_BCL[:, -3, min(place + 1, chunks_BCL.shape[2] - 1)]


def one_more(chunks_BCL: Tensor, place: int) -> Tensor:
    """Counts on from the token it reads."""
    return (chunks_BCL[:, -1, place] + 1) % tiny.VOCAB


@pytest.mark.parametrize("objective", OBJECTIVES, ids=["copy", "delimited", "combined"])
def test_a_model_that_copies_is_right_everywhere(objective: Objective) -> None:
    tokens = torch.randint(2, tiny.VOCAB, (3, objective.window(LAYOUT)), generator=torch.Generator().manual_seed(0))
    counts = free_running_sums(Rule(tiny.VOCAB, half_a_sequence_back), objective, tokens, LAYOUT)["copy"]
    assert torch.equal(counts.correct_R, counts.count_R)
    assert set(counts.count_R.tolist()) == {10 if objective is OBJECTIVES[0] else 8}


def test_one_mistake_spoils_what_follows_in_its_chunk() -> None:
    """A model that counts on is wrong once in 2 3 4 | 8 9 10 when it is shown the 8, three times when it is not."""
    tokens = torch.tensor([[2, 3, 4, 8, 9, 10, 15, 16, 17, 18, 19, 20]])
    model, objective = Rule(tiny.VOCAB, one_more), Copy(**IDS)
    shown = objective.losses(model, tokens, LAYOUT)[1]["copy"]
    alone = free_running_sums(model, objective, tokens, LAYOUT)["copy"]
    assert (shown.correct_R.tolist(), shown.count_R.tolist()) == ([9], [10])
    assert (alone.correct_R.tolist(), alone.count_R.tolist()) == ([7], [10])
    assert model.read[-1][0, 2].tolist() == [2, 3, 4, 5, 6, 7], "in front of the last chunk"
    assert model.read[-1][0, 3].tolist() == [15, 16, 17, 18, 19, BLANK], "the last token is generated, not read"


def test_what_is_given_stays_and_what_is_not_scored_costs_no_pass() -> None:
    """Delimiters, blanks and first tokens, in a model that generates none of them."""
    objective = Copy(**IDS, delimiter_tokens=True)
    tokens = torch.arange(2, 26).view(2, 12) % (tiny.VOCAB - 2) + 2
    table = objective.tables(tokens, LAYOUT)[0]
    table.inputs_BCL[:, 3, 2:4] = BLANK
    model = Rule(tiny.VOCAB, lambda chunks, place: torch.full((len(chunks),), 23))
    before = table.inputs_BCL.clone()
    counts = free_running(model, table)
    assert torch.equal(table.inputs_BCL, before), "the table is not written to"
    assert len(model.read) == 3 + 5 and counts.count_R.tolist() == [8, 8]
    for read in model.read:
        assert torch.equal(read[:, :2], before[:, :2])
        assert (read[:, 2, :3] == DELIMITER).all()
    assert (model.read[2][:, 2] == torch.tensor([DELIMITER] * 3 + [23, 23, BLANK])).all()
    last = model.read[-1][:, 3]
    assert (model.read[-1][:, 2, 3:] == 23).all(), "the next chunk is behind what was generated"
    assert torch.equal(last[:, 0], before[:, 3, 0]) and (last[:, 2:4] == BLANK).all()
    assert (last[:, 1] == 23).all() and (last[:, 4] == 23).all()


def test_memories_of_generated_chunks_are_of_what_was_generated() -> None:
    """The first half is embedded in one call, then each chunk that another one follows."""
    model = tiny.memory_model("mixer")
    assert model.encoder is not None
    with torch.no_grad():
        model.head.weight.zero_()  # so that every generated token is 0
    embedded: list[Tensor] = []
    model.encoder.register_forward_hook(lambda module, args, out: embedded.append(args[0]))
    tokens = torch.randint(2, tiny.VOCAB, (3, 12), generator=torch.Generator().manual_seed(0))
    free_running_sums(model, Copy(**IDS), tokens, LAYOUT)
    first, generated = embedded
    assert torch.equal(first, tokens.view(6, 6))
    assert torch.equal(generated[:, 0], tokens[:, 0]) and (generated[:, 1:] == 0).all()


@pytest.mark.parametrize("kind", tiny.STACKS)
@pytest.mark.parametrize(
    ("name", "positions"), [("fixed", 4 + 2 + 11), ("variable", 2 + 1 + 11), ("full context", 12 + 11)]
)
def test_every_position_is_computed_once(name: str, positions: int, kind: str) -> None:
    """Two scored chunks of six tokens, of which the last one is not read, and what stands in front of them.

    Two memories are read at first, one more behind the first scored chunk; then come the slots that are still empty.
    """
    model, objective = MODELS[name](kind), Copy(**IDS)
    assert isinstance(model.decoder, StackDecoder)
    seen: list[int] = []
    model.decoder.stack.blocks[0].mlp.register_forward_hook(lambda module, args, out: seen.append(out.shape[1]))
    free_running_sums(model, objective, torch.randint(2, tiny.VOCAB, (3, 12)), LAYOUT)
    assert sum(seen) == positions


@pytest.mark.parametrize(
    ("objective", "model"),
    [
        (BlankCopy, tiny.memory_model),
        (CausalLanguageModelling, tiny.memory_model),
        (Autoencode, tiny.autoencoder),
        (Retrieval, None),
    ],
)
def test_only_copying_in_sight_of_the_text_is_decoded(objective: Any, model: Any) -> None:
    tokens = torch.randint(2, tiny.VOCAB, (2, objective(**IDS).window(Layout(4, 8))))
    assert free_running_sums(model, objective(**IDS), tokens, Layout(4, 8)) == {}


@pytest.mark.usefixtures("few_tokens")
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_blank_copy_is_the_same_free_running_and_teacher_forced(kind: str) -> None:
    torch.manual_seed(0)
    model, objective = tiny.memory_model(kind), BlankCopy(**IDS)
    with torch.no_grad():
        model.head.weight[:2] = model.head.weight[2:].mean(0)  # reserved tokens are never the likeliest
    tokens = torch.randint(2, FEW, (3, objective.window(LAYOUT)))
    shown = objective.losses(model, tokens, LAYOUT)[1]["blank_copy"]
    alone = free_running(model, objective.tables(tokens, LAYOUT)[0])
    assert shown.correct_R.sum() > 0
    assert torch.equal(alone.correct_R, shown.correct_R) and torch.equal(alone.count_R, shown.count_R)

"""What is summed, what is divided, and what a model learns by it."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

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
    scoring,
)
from tests import tiny

IDS = {"blank": 0, "delimiter": 1}
LAYOUT = Layout(tiny.CHUNKS, tiny.LENGTH)
OBJECTIVES = [
    CausalLanguageModelling(**IDS),
    Autoencode(**IDS),
    Copy(**IDS),
    Copy(**IDS, delimiter_tokens=True),
    BlankCopy(**IDS),
    Combined(**IDS, copy_weight=0.25),
]
every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)


def model_for(objective: Objective, kind: str = "mixer", heads: int = 0) -> LanguageModel:
    return tiny.autoencoder(kind) if objective.name == "autoencode" else tiny.memory_model(kind, heads=heads)


def batch_for(objective: Objective, rows: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(2, tiny.VOCAB, (rows, objective.window(LAYOUT)), generator=generator)


def losses_of(objective: Objective, model: LanguageModel, tokens: torch.Tensor):
    return objective.losses(model, tokens, LAYOUT)


@every_objective
@torch.no_grad()
def test_sums_count_token_by_token(objective: Objective) -> None:
    """From the logits of all chunks, one scored token at a time."""
    model, tokens = model_for(objective), batch_for(objective)
    loss, sums = losses_of(objective, model, tokens)
    means, weights = [], []
    for table in objective.tables(tokens, LAYOUT):
        log_p = model(table.inputs_BCL).log_softmax(-1)
        nats, right, count = (torch.zeros(len(tokens)) for _ in range(3))
        for row, chunk, place in (table.labels_BCL != IGNORE).nonzero().tolist():
            label = table.labels_BCL[row, chunk, place]
            guess = log_p[row, chunk, place - objective.shift]
            nats[row] -= guess[label]
            right[row] += guess.argmax() == label
            count[row] += 1
        torch.testing.assert_close(sums[table.name].loss_R, nats)
        assert torch.equal(sums[table.name].correct_R, right.long())
        assert torch.equal(sums[table.name].count_R, count.long())
        means.append(nats.sum() / count.sum())
        weights.append(table.weight)
    expected = sum(m * w for m, w in zip(means, weights, strict=True)) / sum(weights)
    torch.testing.assert_close(loss, expected)


ENCODED = [
    (OBJECTIVES[0], 3 * 5),
    (OBJECTIVES[2], 2 * 5),
    (OBJECTIVES[3], 3 * 5),
    (OBJECTIVES[4], 2 * 5 + 1),
    (OBJECTIVES[5], 4 * 5),
]


@pytest.mark.parametrize(("objective", "expected"), ENCODED, ids=[objective.name for objective, _ in ENCODED])
def test_distinct_chunks_are_embedded_once_in_one_call(objective: Objective, expected: int) -> None:
    """Of four chunks, for five windows. Copy repeats two; the delimiter changes the third; blanks: one row for all."""
    model = tiny.memory_model("mixer")
    assert model.encoder is not None
    rows: list[int] = []
    model.encoder.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    losses_of(objective, model, batch_for(objective))
    assert rows == [expected]


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("kind", tiny.KINDS)
@every_objective
def test_loss_and_gradient_are_those_of_whole_logits(
    objective: Objective, kind: str, pieces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against every table read by itself, all its chunks embedded and decoded, and torch's own cross-entropy."""
    model, tokens = model_for(objective, kind).double(), batch_for(objective)
    if pieces:
        monkeypatch.setitem(scoring.PIECE, "cpu", 7 * tiny.VOCAB)
    loss, _ = losses_of(objective, model, tokens)
    expected, weights = torch.zeros((), dtype=torch.float64), 0.0
    for table in objective.tables(tokens, LAYOUT):
        logits = model(table.inputs_BCL)[:, :, : tiny.LENGTH - objective.shift]
        labels = table.labels_BCL[:, :, objective.shift :]
        expected = expected + table.weight * F.cross_entropy(
            logits.flatten(0, 2), labels.flatten(), ignore_index=IGNORE
        )
        weights += table.weight
    torch.testing.assert_close(loss, expected / weights)
    parameters = list(model.parameters())
    gradient = torch.autograd.grad(3 * loss, parameters, materialize_grads=True)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(3 * expected / weights, parameters, materialize_grads=True)
    )


@every_objective
def test_known_memories_change_nothing(objective: Objective) -> None:
    model, tokens = model_for(objective), batch_for(objective)
    if not isinstance(model, MemoryModel):
        return
    chunks = tokens.view(len(tokens), -1, tiny.LENGTH)
    known = model.make_memories(chunks.flatten(0, 1)).unflatten(0, chunks.shape[:2])
    whole, _ = losses_of(objective, model, tokens)
    for count in (1, chunks.shape[1]):
        loss, _ = objective.losses(model, tokens, LAYOUT, known_BcMD=known[:, :count])
        torch.testing.assert_close(loss, whole)


@every_objective
def test_sums_carry_no_graph(objective: Objective) -> None:
    loss, sums = losses_of(objective, model_for(objective), batch_for(objective))
    assert loss.requires_grad
    assert not any(t.requires_grad for s in sums.values() for t in (s.loss_R, s.correct_R, s.count_R))


@pytest.mark.parametrize("kind", tiny.KINDS)
@every_objective
def test_a_few_windows_can_be_learned_by_heart(objective: Objective, kind: str) -> None:
    torch.manual_seed(0)
    model = model_for(objective, kind, heads=2)
    tokens = batch_for(objective, rows=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(150):
        loss, _ = losses_of(objective, model, tokens)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss, sums = losses_of(objective, model, tokens)
    assert loss.item() < 0.3
    assert all(s.correct_R.sum() >= 0.9 * s.count_R.sum() for s in sums.values())


def products(model: LanguageModel, objective: Objective, tokens: torch.Tensor) -> int:
    """Operations of the matrix products of loss and gradient."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        losses_of(objective, model, tokens)[0].backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", tiny.KINDS)
@every_objective
def test_no_gradient_of_a_frozen_head_is_computed(objective: Objective, kind: str) -> None:
    """It would be a product of the head's own size for every scored position."""
    model, tokens = model_for(objective, kind), batch_for(objective)
    positions = sum(
        len(table.inputs_BCL) * len(table.scored) * (tiny.LENGTH - objective.shift)
        for table in objective.tables(tokens, LAYOUT)
    )
    trained = products(model, objective, tokens)
    model.head.requires_grad_(False)
    model.zero_grad()
    frozen = products(model, objective, tokens)
    assert trained - frozen == 2 * positions * tiny.WIDTH * tiny.VOCAB
    assert model.head.weight.grad is None


def test_a_frozen_head_changes_no_other_gradient() -> None:
    model, tokens, objective = tiny.memory_model("mixer"), batch_for(OBJECTIVES[2]), OBJECTIVES[2]
    others = [parameter for name, parameter in model.named_parameters() if name != "decoder.head.weight"]
    given = torch.autograd.grad(losses_of(objective, model, tokens)[0], others, materialize_grads=True)
    model.head.requires_grad_(False)
    frozen = torch.autograd.grad(losses_of(objective, model, tokens)[0], others, materialize_grads=True)
    assert all(torch.equal(one, other) for one, other in zip(given, frozen, strict=True))


def test_a_head_alone_can_be_trained() -> None:
    """No product of the hidden vectors' gradient is made for it."""
    model, tokens, objective = tiny.memory_model("mixer"), batch_for(OBJECTIVES[2]), OBJECTIVES[2]
    wanted = torch.autograd.grad(losses_of(objective, model, tokens)[0], model.head.weight)
    for parameter in model.parameters():
        parameter.requires_grad_(parameter is model.head.weight)
    loss, _ = losses_of(objective, model, tokens)
    loss.backward()
    torch.testing.assert_close(model.head.weight.grad, wanted[0])


def test_a_batch_without_a_scored_token_costs_nothing() -> None:
    """Windows of padding alone: no NaN, and no gradient."""
    model, objective = tiny.memory_model("mixer"), OBJECTIVES[0]
    loss, sums = losses_of(objective, model, torch.zeros(2, objective.window(LAYOUT), dtype=torch.long))
    loss.backward()
    assert loss.item() == 0 and sums["clm"].count_R.tolist() == [0, 0]
    assert all(not parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)


def test_a_part_of_the_windows_has_the_sums_of_the_whole_batch() -> None:
    """Masks are drawn for all windows, whichever a process takes."""
    model, objective = tiny.memory_model("mixer"), Copy(**IDS, hand_over=1.0)
    tokens = batch_for(objective)

    def sums(part: slice) -> torch.Tensor:
        draw = Draw(0.5, torch.Generator().manual_seed(0))
        return objective.losses(model, tokens, LAYOUT, draw=draw, part=part)[1]["copy"].loss_R

    whole = sums(slice(None))
    torch.testing.assert_close(torch.cat((sums(slice(0, 2)), sums(slice(2, 5)))), whole)


@every_objective
def test_equal_parts_have_the_loss_and_the_gradient_of_the_whole_batch_on_average(objective: Objective) -> None:
    """So that it does not matter how many processes share a batch, not even one of padded windows."""
    layout = Layout(1, tiny.LENGTH) if objective.name == "autoencode" else LAYOUT
    model = model_for(objective).double()
    tokens = torch.randint(2, tiny.VOCAB, (4, objective.window(layout)), generator=torch.Generator().manual_seed(0))
    for row, length in enumerate((tokens.shape[1], tokens.shape[1] // 2, 5, 1)):
        tokens[row, length:] = 0

    def loss_of(part: slice) -> torch.Tensor:
        return objective.losses(model, tokens, layout, part=part)[0]

    whole, parts = loss_of(slice(None)), [loss_of(slice(0, 2)), loss_of(slice(2, 4))]
    mean = torch.stack(parts).mean()
    torch.testing.assert_close(mean, whole)
    assert abs(parts[0].item() / parts[1].item()) > 1.2, "the parts are filled unlike"
    trained = [*model.parameters()]
    for one, other in zip(
        torch.autograd.grad(mean, trained, materialize_grads=True),
        torch.autograd.grad(whole, trained, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other)

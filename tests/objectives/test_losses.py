"""What is summed, what is divided, and what a model learns by it."""

import pytest
import torch

from memlab.models import LanguageModel
from memlab.objectives import IGNORE, Autoencode, BlankCopy, CausalLanguageModelling, Combined, Copy, Objective, base
from tests import tiny

IDS = {"blank": 0, "delimiter": 1}
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
    return torch.randint(2, tiny.VOCAB, (rows, objective.window(tiny.CHUNKS, tiny.LENGTH)), generator=generator)


def losses_of(objective: Objective, model: LanguageModel, tokens: torch.Tensor):
    return objective.losses(model, tokens, chunks=tiny.CHUNKS, length=tiny.LENGTH)


@every_objective
@torch.no_grad()
def test_sums_count_token_by_token(objective: Objective) -> None:
    """From the logits of all chunks, one scored token at a time."""
    model, tokens = model_for(objective), batch_for(objective)
    loss, sums = losses_of(objective, model, tokens)
    means, weights = [], []
    for table in objective.tables(tokens, tiny.CHUNKS, tiny.LENGTH):
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


def test_combined_embeds_the_shared_half_once() -> None:
    """C = 4: the first two chunks once, then chunk 2 once for each pass."""
    objective = Combined(**IDS)
    model = tiny.memory_model("mixer")
    assert model.encoder is not None
    rows: list[int] = []
    model.encoder.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    losses_of(objective, model, batch_for(objective))
    assert rows == [2 * 5, 5, 5]


@every_objective
def test_pieces_give_the_whole_loss_and_gradient(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = model_for(objective), batch_for(objective)
    whole, whole_sums = losses_of(objective, model, tokens)
    whole_gradient = torch.autograd.grad(whole, list(model.parameters()))
    monkeypatch.setattr(base, "LOGITS_AT_ONCE", 7 * tiny.VOCAB)
    pieces, pieces_sums = losses_of(objective, model, tokens)
    torch.testing.assert_close(pieces, whole)
    for name, sums in whole_sums.items():
        torch.testing.assert_close(pieces_sums[name].loss_R, sums.loss_R)
        assert torch.equal(pieces_sums[name].correct_R, sums.correct_R)
    torch.testing.assert_close(torch.autograd.grad(pieces, list(model.parameters())), whole_gradient)


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

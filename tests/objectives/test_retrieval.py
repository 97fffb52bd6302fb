"""The contrastive loss against one written out by hand; queries; several ranks against one."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed

from memlab.models import ChunkEncoder
from memlab.objectives import Draw, Layout, Retrieval
from tests import tiny

IDS = {"blank": 0, "delimiter": 1}
LENGTH = tiny.LENGTH
LAYOUT = Layout(1, LENGTH)
every_kind = pytest.mark.parametrize("kind", tiny.KINDS)


def batch(rows: int = 5, seed: int = 0) -> Tensor:
    return torch.randint(2, tiny.VOCAB, (rows, LENGTH), generator=torch.Generator().manual_seed(seed))


def info_nce(
    model: ChunkEncoder, windows: Tensor, queries: Tensor, temperature: float
) -> tuple[list[Tensor], list[bool]]:
    """Nats of each query and whether its window is the nearest one, a pair at a time."""

    def vector(tokens: Tensor) -> Tensor:
        memories: Tensor = model.encoder(tokens[None])[0]
        return torch.cat(list(memories))

    found = [vector(window) for window in windows]
    losses, right = [], []
    for own, query in enumerate(queries):
        asked = vector(query)
        scores = [asked @ other / (asked.norm() * other.norm()) / temperature for other in found]
        losses.append(torch.stack(scores).logsumexp(0) - scores[own])
        right.append(max(range(len(found)), key=lambda place: scores[place].item()) == own)
    return losses, right


@every_kind
@pytest.mark.parametrize("memories", [1, 2])
def test_loss_and_gradient_are_those_written_out(kind: str, memories: int) -> None:
    model = tiny.chunk_encoder(kind, memories=memories)
    objective, windows = Retrieval(**IDS, ngram=3, temperature=0.1), batch()
    loss, sums = objective.losses(model, windows, LAYOUT, draw=Draw(generator=torch.Generator().manual_seed(3)))
    queries = objective.queries(windows, torch.Generator().manual_seed(3))
    losses, right = info_nce(model, windows, queries, 0.1)
    expected = sum(losses, torch.zeros(())) / len(losses)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(sums["retrieval"].loss_R, torch.stack(losses).detach())
    assert sums["retrieval"].correct_R.tolist() == right and sums["retrieval"].count_R.tolist() == [1] * 5
    parameters = list(model.parameters())
    given, wanted = (torch.autograd.grad(of, parameters, allow_unused=True) for of in (loss, expected))
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-5)


@every_kind
def test_cosines_are_fp32_under_autocast(kind: str) -> None:
    """What the model makes may be bf16; from there on the loss is that of double precision, to a fp32's rounding."""
    torch.manual_seed(0)
    model, objective, windows = tiny.chunk_encoder(kind), Retrieval(**IDS, ngram=3), batch(rows=16)
    with torch.autocast("cpu", torch.bfloat16):
        loss, sums = objective.losses(model, windows, LAYOUT)
        both = model.make_memories(torch.cat((windows, objective.queries(windows)))).flatten(1)
    assert sums["retrieval"].loss_R.dtype == torch.float32
    found, asked = (side / side.norm(dim=1, keepdim=True) for side in both.double().chunk(2))
    scores = asked @ found.T / objective.temperature
    expected = scores.logsumexp(1) - scores.diagonal()
    torch.testing.assert_close(sums["retrieval"].loss_R.double(), expected.detach(), rtol=0, atol=1e-3)
    gradient = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    assert all(part.isfinite().all() for part in gradient)


def test_a_query_is_an_ngram_of_its_window_in_front_of_blanks() -> None:
    objective = Retrieval(**IDS, ngram=3)
    windows = torch.arange(2, 2 + 200 * LENGTH).view(200, LENGTH)
    queries = objective.queries(windows, torch.Generator().manual_seed(0))
    starts = (queries[:, 0] - windows[:, 0]).tolist()
    assert {*starts} == {0, 1, 2, 3}, "every place that the n-gram fits into"
    for window, query, start in zip(windows.tolist(), queries.tolist(), starts, strict=True):
        assert query == window[start : start + 3] + [0] * (LENGTH - 3)


def test_queries_follow_the_generator_and_are_fixed_without_one() -> None:
    objective, windows = Retrieval(**IDS, ngram=2), batch(rows=20)
    drawn = [objective.queries(windows, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(objective.queries(windows), objective.queries(windows))


def test_an_ngram_may_be_a_whole_window() -> None:
    windows = batch()
    assert torch.equal(Retrieval(**IDS, ngram=LENGTH).queries(windows), windows)


def test_guessing_costs_the_logarithm_of_the_batch() -> None:
    """An encoder that gives every text the same vector."""
    model = tiny.chunk_encoder("mixer")
    with torch.no_grad():
        model.encoder.embedding.weight.fill_(1.0)
    loss, _ = Retrieval(**IDS, ngram=3).losses(model, batch(rows=8), LAYOUT)
    assert loss.item() == pytest.approx(math.log(8), abs=1e-3)


@every_kind
def test_a_few_windows_can_be_learned_by_heart(kind: str) -> None:
    torch.manual_seed(0)
    model, objective = tiny.chunk_encoder(kind), Retrieval(**IDS, ngram=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(100):
        loss, sums = objective.losses(model, batch(rows=8), LAYOUT)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 and sums["retrieval"].correct_R.sum() == 8


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"n-grams of 7 tokens do not fit into chunks of 6"):
        Retrieval(**IDS).window(LAYOUT)
    for wrong in ({"ngram": 0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match="must be positive"):
            Retrieval(**IDS, **wrong)


RANKS, ROWS = 2, 3


def on_rank(rank: int, folder: Path) -> None:
    """What `python -m tests.objectives.test_retrieval FOLDER RANK` does: loss and gradient of one rank's share."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, objective = tiny.chunk_encoder("mixer"), Retrieval(**IDS, ngram=3, temperature=0.1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=RANKS)
    generator = torch.Generator().manual_seed(rank)
    loss, sums = objective.losses(model, batch(ROWS, seed=rank), LAYOUT, draw=Draw(generator=generator))
    assert len(sums["retrieval"].loss_R) == ROWS
    gradient = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    distributed.destroy_process_group()
    torch.save({"loss": loss.detach(), "gradient": gradient}, folder / f"{rank}.pt")


def test_two_ranks_together_are_one_with_the_joint_batch(tmp_path: Path) -> None:
    """The mean over ranks of loss and gradient, as distributed training takes it."""
    command = [sys.executable, "-m", "tests.objectives.test_retrieval", str(tmp_path)]
    ranks = [subprocess.Popen([*command, str(rank)], cwd=Path(__file__).parents[2]) for rank in range(RANKS)]
    assert [rank.wait(timeout=100) for rank in ranks] == [0] * RANKS
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]
    torch.manual_seed(0)
    model, objective = tiny.chunk_encoder("mixer"), Retrieval(**IDS, ngram=3, temperature=0.1)
    windows = [batch(ROWS, seed=rank) for rank in range(RANKS)]
    queries = [objective.queries(windows[rank], torch.Generator().manual_seed(rank)) for rank in range(RANKS)]
    losses, _ = info_nce(model, torch.cat(windows), torch.cat(queries), 0.1)
    expected = torch.stack(losses).mean()
    torch.testing.assert_close(torch.stack([rank["loss"] for rank in found]).mean(), expected.detach())
    gradient = torch.autograd.grad(expected, list(model.parameters()), materialize_grads=True)
    for of_ranks, wanted in zip(zip(*(rank["gradient"] for rank in found), strict=True), gradient, strict=True):
        torch.testing.assert_close(torch.stack(of_ranks).mean(0), wanted, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    on_rank(int(sys.argv[2]), Path(sys.argv[1]))

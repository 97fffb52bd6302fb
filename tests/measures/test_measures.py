"""Measures, from models made for it to the numbers in an evaluation file, by hand."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memlab.measures import Capacity, Greedy, Samples, Score, Subject
from memlab.measures.samples import reconstructions
from memlab.models import LanguageModel
from memlab.objectives import (
    Autoencode,
    BlankCopy,
    CausalLanguageModelling,
    Combined,
    Copy,
    Layout,
    Objective,
    Retrieval,
)
from tests import tiny

IDS = {"blank": 0, "delimiter": 1}
LAYOUT = Layout(4, 6)
HALF = 12  # tokens of half a sequence
BYTES = np.array([0, 0, *(1 + token % 3 for token in range(2, tiny.VOCAB))], np.int32)


class Text:
    """A prepared text in memory: 5 windows and a rest; token t is written as the number t."""

    windows = "packed"
    blank = 0
    token_bytes = BYTES

    def __init__(self, window: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.all = torch.randint(2, tiny.VOCAB, (5 * window + 3,), generator=generator)

    def tokens(self, split: str) -> np.ndarray:
        assert split == "val"
        return self.all.numpy()

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


class Next(LanguageModel):
    """Predicts token + 1 with certainty, and is told apart by `shift`: the logit at t is of the input at t, plus 1."""

    def __init__(self, can: str = "predict", memory_floats: int = 0) -> None:
        super().__init__(vocab=tiny.VOCAB, chunks=LAYOUT.chunks, length=LAYOUT.length)
        self.can = frozenset({can})  # type: ignore[misc]
        self.memory_floats = memory_floats
        self.head = nn.Linear(tiny.VOCAB, tiny.VOCAB, bias=False)
        self.head.weight.data = 50 * torch.eye(tiny.VOCAB)

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        following = (inputs_BCL[:, scored.start : scored.stop] + 1) % tiny.VOCAB
        return nn.functional.one_hot(following, tiny.VOCAB).float()


def subject(model: LanguageModel, objective: Objective, layout: Layout = LAYOUT, batch_size: int = 2) -> Subject:
    text: Any = Text(objective.window(layout))
    return Subject(model, objective, layout, text, batch_size, torch.device("cpu"))


def test_the_same_windows_every_time_and_as_many_as_asked() -> None:
    of = subject(Next(), CausalLanguageModelling(**IDS))
    seen = torch.cat(list(of.batches(3)))
    assert seen.shape == (3, 24) and torch.equal(seen, torch.cat(list(of.batches(3))))
    whole = of.text.all[: 5 * 24].view(5, 24)  # type: ignore[attr-defined]
    assert torch.equal(torch.cat(list(of.batches(100))), whole), "all of them, in order, and no rest"
    assert list(of.batches(0)) == []


def shifted(given_BnL: Tensor) -> Tensor:
    """What `Next` regenerates: a chunk's first token is given, the logit at t - 1 says what stands at t."""
    guessed = given_BnL.clone()
    guessed[:, :, 1:] = (given_BnL[:, :, :-1] + 1) % tiny.VOCAB
    return guessed


@pytest.mark.parametrize("batch_size", [2, 5])
def test_reconstructions_of_next_tokens_stand_where_they_were_scored(batch_size: int) -> None:
    clm = subject(Next(), CausalLanguageModelling(**IDS), batch_size=batch_size)
    tokens = torch.cat(list(clm.batches(5)))
    text, guess = reconstructions(clm, tokens)
    assert torch.equal(text, tokens) and torch.equal(guess, shifted(tokens.view(5, 4, 6)).flatten(1))
    samples = Samples(windows=5)(clm).samples
    assert [sample["text"] for sample in samples] == [" ".join(map(str, row)) for row in tokens.tolist()]
    assert [sample["regenerated"] for sample in samples] == [" ".join(map(str, row)) for row in guess.tolist()]
    for sample, row, wrong in zip(samples, tokens, (text != guess).tolist(), strict=True):
        parts = sample["parts"]
        assert [not part["right"] for part in parts for _ in range(part["tokens"])] == wrong
        assert all(before["right"] != after["right"] for before, after in pairwise(parts)), "as few parts as possible"
        assert " ".join(part["text"] for part in parts) == " ".join(map(str, row.tolist()))
        assert " ".join(part["regenerated"] for part in parts) == sample["regenerated"]


def test_reconstructions_of_copies_are_of_the_second_half() -> None:
    copy = subject(Next(), Copy(**IDS))
    tokens = torch.cat(list(copy.batches(5)))
    text, guess = reconstructions(copy, tokens)
    assert torch.equal(text, tokens) and torch.equal(guess, shifted(tokens.view(5, 2, 6)).flatten(1))


def test_reconstructions_of_blank_copies_show_the_text_and_what_blanks_lead_to() -> None:
    blank = subject(Next(), BlankCopy(**IDS))
    tokens = torch.cat(list(blank.batches(5)))
    text, guess = reconstructions(blank, tokens)
    first = torch.arange(HALF) % 6 == 0  # of a chunk: not scored, a blank was given
    assert torch.equal(text, tokens.masked_fill(first, 0))
    assert torch.equal(guess, torch.where(first, 0, 1).expand(5, -1)), "a blank and one more"


def test_reconstructions_of_combined_training_are_of_its_copy() -> None:
    """Of the second half, whose first three tokens are delimiters that were given."""
    combined = subject(Next(), Combined(**IDS))
    tokens = torch.cat(list(combined.batches(5)))
    text, guess = reconstructions(combined, tokens)
    given = tokens[:, :HALF].clone()
    given[:, :3] = 1
    assert torch.equal(text, given)
    expected = shifted(given.view(5, 2, 6)).flatten(1)
    expected[:, :3] = 1
    assert torch.equal(guess, expected)


def test_reconstructions_of_an_autoencoder_are_not_shifted() -> None:
    autoencode = subject(Next("regenerate"), Autoencode(**IDS), Layout(1, 6))
    tokens = torch.cat(list(autoencode.batches(5)))
    text, guess = reconstructions(autoencode, tokens)
    assert torch.equal(text, tokens) and torch.equal(guess, (tokens + 1) % tiny.VOCAB)


def test_an_encoder_alone_regenerates_nothing() -> None:
    assert Samples(windows=5)(subject(Next("retrieve"), Retrieval(**IDS, ngram=3), Layout(1, 6))).samples == []


@pytest.mark.parametrize("objective", [CausalLanguageModelling(**IDS), Copy(**IDS)], ids=["clm", "copy"])
def test_scores_are_sums_over_scored_tokens(objective: Objective) -> None:
    """Certain of the wrong token, `Next` pays its 50 nats, and nothing where it is right."""
    of = subject(Next(memory_floats=7), objective)
    with torch.no_grad():
        result = Score(windows=5)(of)
    tokens = torch.cat(list(of.batches(5))).view(5, -1, 6)
    right = tokens[:, :, 1:] == (tokens[:, :, :-1] + 1) % tiny.VOCAB
    count = right[0].numel()
    windows, metrics = result.windows[objective.name], result.metrics[objective.name]
    assert windows["count"] == [count] * 5 and windows["correct"] == right.flatten(1).sum(1).tolist()
    nats = (~right).flatten(1).sum(1) * 50.0
    assert windows["loss"] == pytest.approx(nats.tolist(), abs=1e-3)
    assert metrics["token_accuracy"] == right.double().mean().item() > 0
    assert metrics["cross_entropy"] == pytest.approx(nats.sum().item() / (5 * count))
    byte_count = BYTES[tokens[:, :, 1:].numpy()].sum()
    bits = nats.sum().item() / math.log(2)
    assert metrics["bits_per_byte"] == pytest.approx(bits / byte_count)
    # 5 of a chunk's 6 tokens are scored, and pay 5/6 of its memory of 7 floats of 32 bits.
    stored = 5 * tokens.shape[1] * (5 / 6) * 7 * 32
    assert metrics["bits_per_byte_with_memory"] == pytest.approx((bits + stored) / byte_count)


def test_a_model_without_memory_pays_for_none() -> None:
    with torch.no_grad():
        (metrics,) = Score(windows=5)(subject(Next(), CausalLanguageModelling(**IDS))).metrics.values()
    assert "bits_per_byte" in metrics and "bits_per_byte_with_memory" not in metrics


@pytest.mark.parametrize("windows", [1, 3, 5])
def test_as_many_windows_are_decoded_as_asked(windows: int) -> None:
    """Whether or not batches end there. `Next` goes on from a chunk's first token and from its own guesses."""
    of = subject(Next(), Copy(**IDS), batch_size=2)
    right = total = 0
    for row in torch.cat(list(of.batches(windows))).view(-1, 6).tolist():
        for place in range(1, 6):
            total += 1
            right += row[place] == (row[0] + place) % tiny.VOCAB
    assert total == windows * 10
    (metrics,) = Greedy(windows=windows)(of).metrics.values()
    assert metrics == {"free_running_token_accuracy": right / total}


def test_windows_of_greedy_decoding_are_counted(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """trainer.free_running_windows, through a command; 16 held-out windows are fewer than the 32 that are scored."""
    from memlab.measures import greedy
    from memlab.training.chain import run_chain
    from memlab.training.estimate import Workload

    seen: list[int] = []
    original = greedy.free_running
    monkeypatch.setattr(
        greedy, "free_running", lambda *given: seen.append(len(given[1].inputs_BCL)) or original(*given)
    )
    (job,) = chain("trainer.free_running_windows=19", "scale.stages.memory.steps=2")
    run_chain([job], Workload())
    assert seen == [16, 3]


@pytest.mark.parametrize(
    ("model", "floats"),
    [
        (tiny.recurrent("mixer"), tiny.WIDTH),
        (tiny.memory_model("mixer", memories=2), 2 * tiny.WIDTH),
        (tiny.memory_model("mixer", compression=4), tiny.WIDTH // 4),
        (tiny.memory_model("mixer", encoder_width=8), 8),
        (tiny.memory_model("mixer", with_encoder=False), None),
        (tiny.causal_lm("mixer"), None),
    ],
    ids=["recurrent", "two memories", "compressed", "narrow encoder", "no memory", "full context"],
)
def test_capacity_is_what_is_stored_for_a_chunk(model: LanguageModel, floats: int | None) -> None:
    of = subject(model, CausalLanguageModelling(**IDS))
    metrics = Capacity(windows=5)(of).metrics
    if floats is None:
        assert metrics == {}
        return
    tokens = torch.cat(list(of.batches(5))).view(5, 4, 6)[:, :, 1:]
    text_bits = 8 * 6 * BYTES[tokens.numpy()].mean()
    assert metrics == {
        "clm": {
            name: pytest.approx(value)
            for name, value in {
                "capacity/memory_floats": floats,
                "capacity/memory_bits": 32 * floats,
                "capacity/tokens_per_vector": 6 / model.memories,
                "capacity/text_bits": text_bits,
                "capacity/bit_compression": text_bits / (32 * floats),
            }.items()
        }
    }


def test_the_recurrent_model_s_capacity_is_in_its_run_folder(chain: Any, tmp_path: Path) -> None:
    from memlab.training.chain import run_chain
    from memlab.training.estimate import Workload

    (job,) = chain(
        "encoder=none", "objective=clm", "model@curriculum.stages.main.model=recurrent", "scale.stages.memory.steps=2"
    )
    run_chain([job], Workload())
    written = json.loads((job.folder.path / "evaluation-capacity.json").read_text())
    assert written["metrics"]["clm"]["capacity/memory_floats"] == 32


def test_scores_are_also_summed_by_place_in_the_chunk() -> None:
    result = Score(windows=5)(subject(Next(), Copy(**IDS)))
    [(table, sums)] = result.places.items()
    assert table == "copy" and sums["count"] == [0.0] + [10.0] * 5, (
        "5 windows of 2 scored chunks; a chunk's first is not"
    )
    for name in ("loss", "correct", "count"):
        assert sum(sums[name]) == pytest.approx(sum(result.windows["copy"][name]), rel=1e-5)
    assert (
        len(
            Score(windows=5)(subject(Next("regenerate"), Autoencode(**IDS), Layout(1, 6))).places["autoencode"]["count"]
        )
        == 6
    )

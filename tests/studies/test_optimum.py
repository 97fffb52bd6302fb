"""The best memory of each chunk: what it is measured by, and that it can be stored."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memlab.errors import UserError
from memlab.measures import Result, Subject
from memlab.models import Encoder, LanguageModel
from memlab.objectives import Autoencode, Layout, Retrieval
from memlab.studies.channel import Quantise
from memlab.studies.optimum import Optimum
from tests import tiny
from tests.measures.test_measures import IDS, Next, subject

CHUNKS = Layout(1, tiny.LENGTH)
every_kind = pytest.mark.parametrize("kind", tiny.KINDS)


class Constant(Encoder):
    """Stores ones: L * V floats, whatever the chunk."""

    width = memory_floats = tiny.LENGTH * tiny.VOCAB
    memories = 1

    def forward(self, tokens_RL: Tensor) -> Tensor:
        return torch.ones(len(tokens_RL), 1, self.width)


class Logits(LanguageModel):
    """Its memories are the logits themselves."""

    can = frozenset({"regenerate"})

    def __init__(self) -> None:
        super().__init__(vocab=tiny.VOCAB, chunks=1, length=tiny.LENGTH)
        self.encoder = Constant()
        self.memories, self.memory_floats = 1, self.encoder.memory_floats
        self.head = nn.Linear(tiny.VOCAB, tiny.VOCAB, bias=False)
        self.head.weight.data = torch.eye(tiny.VOCAB)

    def reads(self, scored: range) -> range:
        return scored

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        assert memories_BcMD is not None
        return memories_BcMD.unflatten(3, (tiny.LENGTH, tiny.VOCAB))[:, :, 0]


def autoencoding(model: LanguageModel, batch_size: int = 2) -> Subject:
    return subject(model, Autoencode(**IDS), CHUNKS, batch_size)


def measured(model: LanguageModel, *, batch_size: int = 2, steps: int = 20, lr: float = 0.03, **more: Any) -> Result:
    with torch.inference_mode():  # as memlab measures finished models
        return Optimum(windows=5, steps=steps, lr=lr, **more)(autoencoding(model, batch_size))


def losses(result: Result, name: str) -> Tensor:
    return torch.tensor(result.windows[f"autoencode/{name}"]["loss"])


def test_bits_are_what_the_memory_saves_of_a_unigram_code() -> None:
    """Without information the decoder pays log2 V per token; with the right logits nothing."""
    of = autoencoding(Logits())
    text: Any = of.text
    counts = Counter(text.all.tolist())
    tokens = torch.cat(list(of.batches(5))).flatten().tolist()
    unigram = sum(-math.log2(counts[token] / len(text.all)) for token in tokens) / 5
    (metrics,) = measured(Logits(), steps=300, lr=0.5).metrics.values()
    assert metrics["text/bits"] == pytest.approx(unigram)
    assert metrics["text/cross_entropy"] == pytest.approx(unigram * math.log(2) / tiny.LENGTH)
    assert metrics["encoder/cross_entropy"] == pytest.approx(math.log(tiny.VOCAB))
    assert metrics["encoder/bits"] == pytest.approx(unigram - tiny.LENGTH * math.log2(tiny.VOCAB), abs=1e-4)
    assert metrics["optimum/bits"] == pytest.approx(unigram, abs=0.01) and metrics["optimum/token_accuracy"] == 1
    for name in ("text", "encoder", "optimum"):
        floats = tiny.LENGTH * tiny.VOCAB
        assert metrics[f"{name}/bits_per_float"] == pytest.approx(metrics[f"{name}/bits"] / floats)


def test_padding_has_no_bits() -> None:
    of = autoencoding(Logits())
    text: Any = of.text
    text.all[3 : tiny.LENGTH] = IDS["blank"]
    with torch.inference_mode():
        result = Optimum(windows=5, steps=1, lr=0.1)(of)
    assert result.windows["autoencode/text"]["count"] == [3.0] + [float(tiny.LENGTH)] * 4
    counts = Counter(text.all.tolist())
    total = len(text.all) - counts.pop(IDS["blank"])
    first = sum(-math.log(counts[token] / total) for token in text.all[:3].tolist())
    assert result.windows["autoencode/text"]["loss"][0] == pytest.approx(first)


@every_kind
@pytest.mark.parametrize("lr", [0.03, 100.0])
def test_the_optimum_is_never_worse_than_its_start(kind: str, lr: float) -> None:
    """For every chunk, also where the steps are far too long."""
    result = measured(tiny.autoencoder(kind, memories=2), lr=lr)
    assert (losses(result, "optimum") <= losses(result, "encoder")).all()


@every_kind
def test_more_steps_find_better_memories(kind: str) -> None:
    model = tiny.autoencoder(kind)
    few, many = (measured(model, steps=steps, lr=0.1) for steps in (3, 60))
    start, after_few, after_many = (
        losses(result, name).sum() for result, name in ((few, "encoder"), (few, "optimum"), (many, "optimum"))
    )
    assert after_many < after_few - 0.5 < start


@every_kind
def test_the_encoder_s_numbers_are_those_of_the_score(kind: str) -> None:
    from memlab.measures import Score

    model = tiny.autoencoder(kind)
    with torch.inference_mode():
        score = Score(windows=5)(autoencoding(model)).metrics["autoencode"]
    found = measured(model, steps=1).metrics["autoencode"]
    for name in ("cross_entropy", "token_accuracy"):
        assert found[f"encoder/{name}"] == pytest.approx(score[name], rel=1e-5)


def test_chunks_are_optimised_by_themselves_and_alike_every_time() -> None:
    torch.manual_seed(0)
    model = tiny.autoencoder("mixer")
    once, again = (measured(model, random_start=True) for _ in range(2))
    assert once == again
    whole = measured(model, batch_size=5)
    torch.testing.assert_close(losses(whole, "optimum"), losses(once, "optimum"), rtol=1e-3, atol=1e-3)


def test_a_random_start_is_reported_beside_the_encoder_s() -> None:
    result = measured(tiny.autoencoder("mixer"), random_start=True)
    assert result.metrics["autoencode"].keys() > measured(tiny.autoencoder("mixer")).metrics["autoencode"].keys()
    assert (losses(result, "optimum_random") != losses(result, "optimum")).all()


@pytest.mark.parametrize("compression", [1, 4])
def test_what_is_found_passes_through_the_channel(compression: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit per float: the decoder is given memories of stored floats -1 and 1 alone."""
    model = tiny.autoencoder("mixer", channel=Quantise(bits=1), compression=compression)
    kind, seen = type(model), []
    original = kind.hidden

    def spy(self: Any, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        seen.append(memories_BcMD)
        return original(self, inputs_BCL, scored, memories_BcMD)

    monkeypatch.setattr(kind, "hidden", spy)
    result = measured(model, steps=100, lr=0.1)
    memories = torch.cat([part.flatten(0, 2) for part in seen if part is not None])
    if compression == 1:
        assert memories.abs().eq(1).all()
    else:
        codes = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * (tiny.WIDTH // compression))
        widened = model.encoder.compression[-1](codes)
        assert (memories[:, None] - widened).abs().amax(2).amin(1).max() < 1e-5
    assert losses(result, "optimum").sum() < losses(result, "encoder").sum()


def test_the_model_is_left_as_it_was() -> None:
    model = tiny.autoencoder("transformer")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measured(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_models_that_do_not_regenerate_have_no_optimum() -> None:
    measure = Optimum(windows=5, steps=1, lr=0.1)
    assert measure(subject(tiny.memory_model("mixer"), Retrieval(**IDS, ngram=3), CHUNKS)) == Result()
    assert measure(autoencoding(Next("regenerate"))) == Result(), "no encoder, no memory"


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"lr": 0.0}, {"lr": math.inf}, {"lr": math.nan}])
def test_steps_and_rate_are_above_0(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="at least 1 step and a rate above 0"):
        Optimum(**{"windows": 5, "steps": 10, "lr": 0.1} | wrong)

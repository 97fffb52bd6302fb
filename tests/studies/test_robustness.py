"""Accuracies with disturbed memories, of an encoder whose memories can be computed by hand."""

import pytest
import torch
from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models import LanguageModel
from memlab.models.ports import Encoder
from memlab.objectives import Autoencode, Copy, Layout
from memlab.studies.robustness import Robustness, _noise
from tests import tiny
from tests.measures.test_measures import IDS, LAYOUT, Next, subject

CHUNK = Layout(1, 6)


class Numbers(Encoder):
    """A memory holds the numbers of the chunk's tokens, and one feature that never changes."""

    memories = 1
    width = memory_floats = CHUNK.length + 1

    def forward(self, tokens_RL: Tensor) -> Tensor:
        return nn.functional.pad(tokens_RL.float(), (0, 1), value=3.0)[:, None]


class Nearest(LanguageModel):
    """Regenerates the token whose number is nearest to what the memory says."""

    can = frozenset({"regenerate"})

    def __init__(self) -> None:
        super().__init__(vocab=tiny.VOCAB, chunks=1, length=CHUNK.length)
        self.encoder = Numbers()
        self.memories, self.memory_floats = 1, self.encoder.memory_floats
        self.head = nn.Linear(tiny.VOCAB, tiny.VOCAB, bias=False)
        self.head.weight.data = torch.eye(tiny.VOCAB)

    def reads(self, scored: range) -> range:
        return scored

    def make_memories(self, chunks_RL: Tensor) -> Tensor:
        assert self.encoder is not None
        return self.encoder(chunks_RL)

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        assert memories_BcMD is not None
        return -(memories_BcMD[:, :, 0, : self.length, None] - torch.arange(tiny.VOCAB)).square()


def robustness(noise: tuple[float, ...] = (), bits: tuple[int, ...] = ()) -> dict[str, float]:
    (metrics,) = Robustness(windows=5, noise=noise, bits=bits)(
        subject(Nearest(), Autoencode(**IDS), CHUNK)
    ).metrics.values()
    return metrics


def test_rounding_is_to_evenly_spaced_values_of_each_feature() -> None:
    tokens = torch.cat(list(subject(Nearest(), Autoencode(**IDS), CHUNK).batches(5))).double()
    low, high = tokens.amin(0), tokens.amax(0)
    expected = {"bits_8/token_accuracy": 1.0}  # steps of at most 23 / 255
    for bits in (1, 2):
        step = (high - low) / (2**bits - 1)
        rounded = low + ((tokens - low) / step).round() * step
        expected[f"bits_{bits}/token_accuracy"] = ((rounded - tokens).abs() < 0.5).double().mean().item()
    assert robustness(bits=(8, 1, 2)) == pytest.approx(expected)
    assert expected["bits_1/token_accuracy"] < expected["bits_2/token_accuracy"] < 1


def test_noise_is_relative_and_the_same_every_time() -> None:
    """None at 0; of a thousandth of the memory's size none that changes the nearest number; of its size a lot."""
    found = robustness(noise=(0, 0.001, 0.1, 1))
    assert found["noise_0/token_accuracy"] == found["noise_0.001/token_accuracy"] == 1
    assert 1 > found["noise_0.1/token_accuracy"] > found["noise_1/token_accuracy"] > 0
    assert robustness(noise=(1, 0.1)) == {
        name: found[name] for name in ("noise_1/token_accuracy", "noise_0.1/token_accuracy")
    }


def test_noise_has_the_size_that_is_asked_for() -> None:
    memories = torch.tensor([[[3.0, 4.0] * 500]]).repeat(50, 1, 1)
    drawn = _noise(0.5)(memories) - memories
    assert drawn.std().item() == pytest.approx(0.5 * 12.5**0.5, rel=0.02) and abs(drawn.mean().item()) < 0.05


def test_copies_are_also_measured_free_running_and_the_model_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    of = subject(tiny.memory_model("mixer"), Copy(**IDS))
    given = {key: value.clone() for key, value in of.model.state_dict().items()}
    with torch.no_grad():
        (metrics,) = Robustness(windows=3, noise=(0, 1000))(of).metrics.values()
    kinds = ("token_accuracy", "free_running_token_accuracy")
    assert set(metrics) == {f"noise_{std}/{kind}" for std in (0, 1000) for kind in kinds}
    assert of.model.encoder is not None and not of.model.encoder._forward_hooks
    assert all(torch.equal(value, given[key]) for key, value in of.model.state_dict().items())


def test_a_model_without_encoder_has_nothing_to_disturb() -> None:
    assert not Robustness(windows=3, noise=(1,))(subject(Next(), Copy(**IDS), LAYOUT)).metrics


@pytest.mark.parametrize("wrong", [{"noise": (-1,)}, {"bits": (0,)}])
def test_values_out_of_range_are_refused(wrong: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(UserError, match="choose 0 or more, and 1 or more"):
        Robustness(windows=3, **wrong)

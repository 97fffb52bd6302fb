"""What causal LM and autoencoder see; every model on the meta device."""

from collections.abc import Callable

import pytest
import torch

from memlab.models import Autoencoder, LanguageModel, UnrollBridge
from tests import tiny

INPUTS = torch.randint(tiny.VOCAB, (3, tiny.CHUNKS, tiny.LENGTH), generator=torch.Generator().manual_seed(0))
BUILDERS: list[Callable[[str], LanguageModel]] = [tiny.causal_lm, tiny.autoencoder, tiny.memory_model, tiny.recurrent]


@pytest.mark.parametrize("kind", tiny.KINDS)
@torch.no_grad()
def test_causal_lm_sees_no_later_token(kind: str) -> None:
    model = tiny.causal_lm(kind)
    logits = model(INPUTS).flatten(1, 2)
    for t in range(tiny.CHUNKS * tiny.LENGTH - 1):
        changed = INPUTS.flatten(1).clone()
        changed[:, t + 1 :] = (changed[:, t + 1 :] + 1) % tiny.VOCAB
        again = model(changed.view(INPUTS.shape)).flatten(1, 2)
        torch.testing.assert_close(again[:, : t + 1], logits[:, : t + 1])
        assert not torch.equal(again[:, t + 1], logits[:, t + 1])


@pytest.mark.parametrize("kind", tiny.KINDS)
@torch.no_grad()
def test_causal_lm_reads_earlier_chunks(kind: str) -> None:
    model = tiny.causal_lm(kind)
    changed = INPUTS.clone()
    changed[:, 0] = (changed[:, 0] + 1) % tiny.VOCAB
    assert not torch.allclose(model(changed, range(3, 4)), model(INPUTS, range(3, 4)))


@pytest.mark.parametrize("kind", tiny.KINDS)
@torch.no_grad()
def test_autoencoder_treats_chunks_alone(kind: str) -> None:
    model = tiny.autoencoder(kind)
    together = model(INPUTS)
    for chunk in range(tiny.CHUNKS):
        torch.testing.assert_close(model(INPUTS[:, chunk : chunk + 1])[:, 0], together[:, chunk])


@pytest.mark.parametrize("kind", tiny.KINDS)
@torch.no_grad()
def test_autoencoder_decodes_from_the_memories_alone(kind: str) -> None:
    """With several memories: the logits follow from encoder, bridge and decoder, without a look at the tokens."""
    model = tiny.autoencoder(kind, memories=2)
    memories = model.encoder(INPUTS[:, 0])
    torch.testing.assert_close(model(INPUTS[:, :1])[:, 0], model.head(model.stack(model.bridge(memories))))


def test_autoencoder_of_two_widths_is_refused() -> None:
    bridge = UnrollBridge(width=8, length=tiny.LENGTH)
    with pytest.raises(ValueError, match="one width"):
        Autoencoder(tiny.encoder("mixer"), tiny.stack("mixer", tiny.LENGTH), bridge, tiny.VOCAB)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("build", BUILDERS)
@torch.no_grad()
def test_scored_chunks_are_a_selection_of_all(build: Callable[[str], LanguageModel], kind: str) -> None:
    model = build(kind)
    torch.testing.assert_close(model(INPUTS, range(1, 3)), model(INPUTS)[:, 1:3])


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("build", BUILDERS)
def test_model_builds_and_runs_on_meta(build: Callable[[str], LanguageModel], kind: str) -> None:
    with torch.device("meta"):
        model = build(kind)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert model(INPUTS.to("meta")).shape == (*INPUTS.shape, tiny.VOCAB)


@pytest.mark.parametrize(("kind", "std"), [("transformer", 0.02), ("mixer", 1 / (3 * tiny.WIDTH) ** 0.5)])
def test_head_follows_its_stack_and_has_no_bias(kind: str, std: float) -> None:
    head = tiny.stack(kind, tiny.LENGTH).make_head(2000)
    assert head.bias is None
    assert head.weight.std().item() == pytest.approx(std, rel=0.05)

"""Pretrained models behind the two ports compute what transformers computes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from memlab.errors import UserError
from memlab.models import MemoryModel, StackEncoder
from memlab.pretrained import PretrainedDecoder, PretrainedEncoder
from memlab.storage.pretrained import find
from tests import tiny
from tests.pretrained.models import save_llama

TOKENS = torch.randint(3, 100, (4, 6), generator=torch.Generator().manual_seed(0))


def encoder(model: Path, **more: Any) -> PretrainedEncoder:
    return PretrainedEncoder(vocab=100, length=6, weights=find(str(model)).identity, **more)


def decoder(model: Path, **more: Any) -> PretrainedDecoder:
    return PretrainedDecoder(vocab=100, length=10, weights=find(str(model)).identity, **more)


def whole(model: Path, kind: str = "AutoModel") -> Any:
    import transformers

    return getattr(transformers, kind).from_pretrained(model).eval()


@pytest.mark.parametrize("kind", ["llama", "bert"])
@torch.no_grad()
def test_an_encoder_reads_the_last_position_the_mean_or_a_layer(kind: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(kind)
    expected = whole(model)(TOKENS, output_hidden_states=True)
    last = encoder(model).train()
    torch.testing.assert_close(last(TOKENS), expected.last_hidden_state[:, -1:])
    torch.testing.assert_close(encoder(model, read="mean")(TOKENS), expected.last_hidden_state.mean(1, keepdim=True))
    torch.testing.assert_close(encoder(model, layer=2)(TOKENS), expected.hidden_states[2][:, -1:])
    torch.testing.assert_close(encoder(model, memories=3)(TOKENS), expected.last_hidden_state[:, -3:])
    assert (last.width, last.memories, last.memory_floats) == (16, 1, 16)
    assert last.borrowed == set(last.state_dict()) and not [p for p in last.parameters() if p.requires_grad]


def test_untrained_weights_follow_from_their_seed_alone(llama: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (encoder(llama, untrained=seed)(TOKENS) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert not torch.allclose(first, encoder(llama)(TOKENS))


def test_memories_follow_the_model_around_from_dtype_to_dtype(llama: Path) -> None:
    half = encoder(llama, dtype="bfloat16")
    assert half.body.dtype == torch.bfloat16 and half(TOKENS).dtype == torch.float32
    torch.testing.assert_close(half(TOKENS), encoder(llama)(TOKENS), rtol=0.1, atol=0.1)
    assert half.double()(TOKENS).dtype == torch.float64


@pytest.mark.parametrize("how", ["full", "frozen", "lora"])
@torch.no_grad()
def test_a_decoder_reads_vectors_and_starts_as_the_model_itself(llama: Path, how: str) -> None:
    made = decoder(llama, train=how)
    hidden = made(made.embed(TOKENS))
    torch.testing.assert_close(made.head(hidden), whole(llama, "AutoModelForCausalLM")(TOKENS).logits)
    torch.testing.assert_close(made(made.embed(TOKENS), 2, 5), hidden[:, 2:5])
    assert made.width == 16 and made.embedding_std == 0.3


@torch.no_grad()
def test_step_by_step_the_decoder_s_cache_keeps_the_past(llama: Path) -> None:
    made = decoder(llama)
    x = torch.randn(3, 10, 16, generator=torch.Generator().manual_seed(1))
    state = made.begin(3)
    stepped = torch.cat([made.step(part, state) for part in x.split([4, 1, 1, 3, 1], dim=1)], dim=1)
    torch.testing.assert_close(stepped, made(x))
    layers = [layer.keys for layer in state.layers]
    assert 2 * sum(keys[0].numel() for keys in layers) == made.state_size(10)


@torch.no_grad()
def test_a_cache_goes_on_from_a_snapshot(llama: Path) -> None:
    made = decoder(llama)
    x = torch.randn(3, 10, 16, generator=torch.Generator().manual_seed(1))
    state = made.begin(3)
    made.step(x[:, :4], state)
    made.step(-x[:, 4:], made.snapshot(state))
    torch.testing.assert_close(made.step(x[:, 4:], state), made(x, 4))


@pytest.mark.parametrize("tied", [True, False])
def test_what_is_trained_is_the_decoder_s_own_and_the_rest_is_borrowed(tmp_path: Path, tied: bool) -> None:
    model = save_llama(tmp_path / "model", tied=tied)
    full, frozen, lora = (decoder(model, train=how) for how in ("full", "frozen", "lora"))
    assert full.borrowed == ({"head.weight"} if tied else set()), "a tied weight is saved once"
    assert all(p.requires_grad for p in full.parameters())
    assert frozen.borrowed == set(frozen.state_dict()) and not any(p.requires_grad for p in frozen.parameters())
    own = set(lora.state_dict()) - lora.borrowed
    assert own == {name for name, p in lora.named_parameters() if p.requires_grad}
    assert len(own) == 2 * 7 * 3 and all("lora_" in name for name in own)


def test_gradient_checkpointing_changes_no_gradient(llama: Path) -> None:
    x = torch.randn(3, 10, 16, generator=torch.Generator().manual_seed(1))
    grads = []
    for checkpointing in (False, True):
        made = decoder(llama, gradient_checkpointing=checkpointing).train()
        made.head(made(x)).square().mean().backward()
        grads.append([p.grad for p in made.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)
    assert made.body.is_activation_checkpointing


def test_a_memory_model_may_have_a_pretrained_decoder(llama: Path) -> None:
    """Its memories get a gradient through a frozen decoder, and greedy steps equal whole passes."""
    torch.manual_seed(0)
    model = MemoryModel(
        encoder=tiny.encoder("transformer"),
        decoder=lambda **sizes: PretrainedDecoder(weights=find(str(llama)).identity, train="frozen", **sizes),
        vocab=100, chunks=3, length=6,
    )  # fmt: skip
    assert isinstance(model.encoder, StackEncoder) and isinstance(model.projection, nn.Identity)
    inputs = TOKENS[None, :3]
    model(inputs).square().mean().backward()
    weight = model.encoder.embedding.weight
    assert isinstance(weight, nn.Parameter) and weight.grad is not None and weight.grad.any()
    with torch.no_grad():
        state = model.open(inputs[:, :1])
        stepped = model.step(inputs[:, 1:].flatten(1), state)
        torch.testing.assert_close(stepped, model.hidden(inputs, range(1, 3)).flatten(1, 2))


def test_shapes_alone_need_no_weights(llama: Path, bert: Path) -> None:
    with torch.device("meta"):
        made, read = decoder(llama), encoder(bert)
        assert made(made.embed(torch.zeros(2, 5, dtype=torch.long))).shape == (2, 5, 16)
        assert read(torch.zeros(2, 6, dtype=torch.long)).shape == (2, 1, 16)
    assert {p.device.type for p in (*made.parameters(), *read.parameters())} == {"meta"}


@pytest.mark.parametrize(
    ("make", "more", "message"),
    [
        (encoder, {"read": "first"}, "choose one of last, mean"),
        (encoder, {"layer": 4}, "layer=4: choose 1 to 3"),
        (encoder, {"memories": 2, "read": "mean"}, "memories=2"),
        (encoder, {"dtype": "int8"}, "choose one of float32, bfloat16"),
        (decoder, {"train": "half"}, "choose one of full, frozen, lora"),
        (decoder, {"train": "lora", "untrained": True}, "random weights are trained"),
    ],
)
def test_values_that_do_not_fit_are_refused(make: Any, more: dict[str, Any], message: str, llama: Path) -> None:
    with pytest.raises(UserError, match=message):
        make(llama, **more)


def test_another_vocabulary_longer_chunks_and_thawing_are_refused(llama: Path, bert: Path, tmp_path: Path) -> None:
    identity = find(str(bert)).identity
    with pytest.raises(UserError, match="has 120 token ids and the text has 300: take tokenizer=pretrained"):
        PretrainedEncoder(vocab=300, length=6, weights=identity)
    with pytest.raises(UserError, match="reads 64 positions at most, not 65"):
        PretrainedEncoder(vocab=100, length=65, weights=identity)
    with pytest.raises(UserError, match=r"frozen whole; set encoder.freeze=true"):
        encoder(bert).freeze("blocks")
    with pytest.raises(UserError, match="final_logit_softcapping changes its logits"):
        decoder(save_llama(tmp_path / "capped", final_logit_softcapping=30.0))

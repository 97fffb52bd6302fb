"""Causal attention in Llama-style blocks: an independent computation, causality, initialisation."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memlab.models import Block, CausalAttention, CausalLM, RMSNorm, Stack, StackDecoder, SwiGLU


def stack_of(width: int, heads: int, layers: int = 2, **options: Any) -> Stack:
    settings: dict[str, Any] = {"norm": partial(RMSNorm, eps=1e-6), "final_norm": True, "weight_std": 0.02}
    mixer = partial(CausalAttention, heads=heads)
    return Stack(9, width=width, layers=layers, mixer=mixer, mlp=SwiGLU, **settings | options)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def by_hand(block: Block, x: Tensor, heads: int, theta: float) -> Tensor:
    """One row (T, D): attention position by position, rotary positions as complex numbers."""
    positions, width = x.shape
    size = width // heads
    query, key, value = block.mixer.query_key_value.weight.split(width)
    normed = rms_norm(x, block.mixing_norm.weight)
    mixed = torch.zeros_like(x)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)

        def turned(matrix: Tensor, part: slice = part) -> Tensor:
            features = normed @ matrix[part].T
            number = torch.complex(features[:, : size // 2], features[:, size // 2 :])
            speed = torch.tensor([theta ** (-2 * i / size) for i in range(size // 2)], dtype=x.dtype)
            return number * torch.polar(torch.ones_like(speed), torch.arange(positions)[:, None] * speed)

        q, k, v = turned(query), turned(key), normed @ value[part].T
        for t in range(positions):
            scores = (q[t].conj() * k[: t + 1]).real.sum(-1) / math.sqrt(size)
            mixed[t, part] = scores.softmax(0) @ v[: t + 1]
    x = x + mixed @ block.mixer.out.weight.T
    gate, up = block.mlp.gate_up.weight.split(4 * width)
    normed = rms_norm(x, block.mlp_norm.weight)
    gated = normed @ gate.T
    return x + (gated * torch.sigmoid(gated) * (normed @ up.T)) @ block.mlp.down.weight.T


def spread_out(module: nn.Module) -> None:
    """Draw weights so large that a mistake in the attention scores shows."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)


@torch.no_grad()
def test_stack_equals_explicit_attention_with_complex_rotary() -> None:
    stack = stack_of(24, heads=3).double()
    spread_out(stack)
    x = torch.randn(2, 7, 24, dtype=torch.double)
    expected = []
    for row in x:
        for block in stack.blocks:
            row = by_hand(block, row, heads=3, theta=10000.0)  # noqa: PLW2901
        expected.append(rms_norm(row, stack.norm.weight))
    # Angles are fp32, hence the tolerance.
    torch.testing.assert_close(stack(x), torch.stack(expected), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_causal_lm_equals_hugging_face_llama() -> None:
    """The same weights in code that others wrote give the same logits."""
    transformers = pytest.importorskip("transformers")
    width, heads, layers, vocab, chunks, length = 24, 3, 2, 11, 3, 4
    decoder = partial(StackDecoder, stack=lambda _: stack_of(width, heads, layers))
    model = CausalLM(decoder=decoder, vocab=vocab, chunks=chunks, length=length).double()
    spread_out(model)
    config = transformers.LlamaConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        rms_norm_eps=1e-6,
        vocab_size=vocab,
        max_position_embeddings=chunks * length,
        tie_word_embeddings=False,
    )
    llama = transformers.LlamaForCausalLM(config).double().eval()
    theirs = {
        "model.embed_tokens.weight": model.decoder.embedding.weight,
        "model.norm.weight": model.decoder.stack.norm.weight,
        "lm_head.weight": model.head.weight,
    }
    for layer, block in enumerate(model.decoder.stack.blocks):
        query, key, value = block.mixer.query_key_value.weight.split(width)
        gate, up = block.mlp.gate_up.weight.split(4 * width)
        for name, weight in {
            "self_attn.q_proj": query,
            "self_attn.k_proj": key,
            "self_attn.v_proj": value,
            "self_attn.o_proj": block.mixer.out.weight,
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": block.mlp.down.weight,
            "input_layernorm": block.mixing_norm.weight,
            "post_attention_layernorm": block.mlp_norm.weight,
        }.items():
            theirs[f"model.layers.{layer}.{name}.weight"] = weight
    llama.load_state_dict(theirs)
    tokens = torch.randint(vocab, (2, chunks, length))
    # Angles are fp32 on both sides, hence the tolerance.
    torch.testing.assert_close(model(tokens).flatten(1, 2), llama(tokens.flatten(1)).logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_output_does_not_depend_on_later_positions() -> None:
    stack = stack_of(16, heads=2, layers=3).double()
    x = torch.randn(2, 9, 16, dtype=torch.double)
    for t in range(8):
        changed = x.clone()
        changed[:, t + 1 :] += 10
        torch.testing.assert_close(stack(changed)[:, : t + 1], stack(x)[:, : t + 1])
        assert not torch.allclose(stack(changed)[:, t + 1 :], stack(x)[:, t + 1 :])


def test_no_linear_has_a_bias() -> None:
    assert not [name for name, _ in stack_of(16, heads=2).named_parameters() if name.endswith("bias")]


@pytest.mark.parametrize("heads", [3, 16])
def test_heads_that_do_not_fit_are_refused(heads: int) -> None:
    with pytest.raises(ValueError, match="choose width"):
        CausalAttention(16, heads=heads)

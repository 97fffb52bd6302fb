"""Causal softmax attention with rotary positions, as in Llama (shapes: see base.py)."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.errors import UserError
from memlab.models.base import require_positive
from memlab.models.token_mixer import TokenMixer, extend


class CausalAttention(TokenMixer):
    """H heads of D/H features; queries, keys, values and outputs by linears without biases.

    Rotary positions count from 0: before the product, features i and i + D/2H of each query and key at position p are
    turned as one complex number by p * theta^(-2i / (D/H)) radians. Any number of positions works: `length` is unused.
    Raises UserError when D / H is not a whole, even number.
    """

    def __init__(self, width: int, length: int | None = None, *, heads: int, theta: float = 10000.0) -> None:
        super().__init__(width)
        require_positive(width=width, heads=heads)
        if width % (2 * heads):
            raise UserError(
                f"width={width} must be a multiple of 2 * heads = {2 * heads} (rotary positions turn pairs of features"
                f" of a head): choose width={-(-width // (2 * heads)) * 2 * heads} or other heads."
            )
        self.heads = heads
        self.theta = theta
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        rows, positions, width = x_RTD.shape
        asking = range(positions)[start:stop]
        turns = _turns(self.width, self.heads, self.theta, 0, positions, x_RTD.device)
        if len(asking) == positions:
            # The values apart: as a part of one tensor they would keep the unrotated queries and keys alive.
            for_query_key, for_value = self.query_key_value.weight.split((2 * width, width))
            qk = rotate(F.linear(x_RTD, for_query_key).view(rows, positions, 2 * self.heads, -1), turns)
            v = F.linear(x_RTD, for_value).view(rows, positions, self.heads, -1)
            q, k = qk.chunk(2, dim=2)
            return self.out(attention(q, k, v, is_causal=True))
        for_query, for_key_value = self.query_key_value.weight.split((width, 2 * width))
        q = F.linear(x_RTD[:, asking.start : asking.stop], for_query).view(rows, len(asking), self.heads, -1)
        k, v = F.linear(x_RTD, for_key_value).view(rows, positions, 2, self.heads, -1).unbind(2)
        q = rotate(q, turns[:, asking.start : asking.stop])
        return self.out(attention(q, rotate(k, turns), v, attn_mask=_mask(asking, positions, x_RTD)))

    def step(self, x_RtD: Tensor, state: Any) -> Tensor:
        """Compute queries of the new positions alone; the state keeps keys (rotated) and values."""
        rows, new, _ = x_RtD.shape
        past = state["keys"].shape[1] if state else 0
        qkv = self.query_key_value(x_RtD).view(rows, new, 3 * self.heads, -1)
        turns = _turns_of_step(self.width, self.heads, self.theta, past, past + new, x_RtD.device)
        q, k = rotate(qkv[:, :, : 2 * self.heads], turns).chunk(2, dim=2)
        keys, values = extend(state, "keys", k), extend(state, "values", qkv[:, :, 2 * self.heads :])
        # In front of position 0 no mask is needed, which would grow with the square of the text.
        mask = {"attn_mask": _mask(range(past, past + new), past + new, x_RtD)} if past else {"is_causal": True}
        return self.out(attention(q, keys, values, **mask))

    def state_size(self, length: int) -> int:
        return 2 * length * self.width


def _turns(width: int, heads: int, theta: float, start: int, stop: int, device: torch.device) -> Tensor:
    """Return cosines and signed sines (2, T, D/H) of the angles at positions start..stop-1, in fp32."""
    positions = torch.arange(start, stop, device=device, dtype=torch.float32)
    pairs = torch.arange(0, width // heads, 2, device=device, dtype=torch.float32)
    angles = positions[:, None] * theta ** (-pairs * heads / width)
    return torch.stack((angles.cos().tile(2), torch.cat((-angles.sin(), angles.sin()), dim=1)))


@lru_cache(maxsize=2)
def _turns_of_step(width: int, heads: int, theta: float, start: int, stop: int, device: torch.device) -> Tensor:
    """Keep the last turns: all layers of a step ask for the same."""
    with torch.inference_mode(False), torch.no_grad():  # a tensor that later steps may use in any mode
        return _turns(width, heads, theta, start, stop, device)


def attention(q_RtHd: Tensor, k_RTHd: Tensor, v_RTHd: Tensor, **mask: Any) -> Tensor:
    """Return softmax attention of every head, outputs side by side, (R, t, D). `mask`: as PyTorch's function takes it.

    Heads are turned into place here, as views: the result takes the layout of the queries, so that it is not copied.
    """
    q, k, v = (x.transpose(1, 2) for x in (q_RtHd, k_RTHd, v_RTHd))
    return F.scaled_dot_product_attention(q, k, v, **mask).transpose(1, 2).flatten(2)


def rotate(x_RTHd: Tensor, turns_2Td: Tensor) -> Tensor:
    """Turn feature i and feature i + d/2 of every head as one complex number (the order of Llama's public weights)."""
    wide = x_RTHd if x_RTHd.dtype == torch.float64 else x_RTHd.float()
    turns_2Td = turns_2Td.to(wide.dtype)
    turned: Tensor = _Rotate.apply(wide, turns_2Td) if torch.is_grad_enabled() else _turned(wide, turns_2Td, 1)
    return turned.to(x_RTHd.dtype)


class _Rotate(torch.autograd.Function):
    """Gradients turn backwards: far fewer passes over the features than through the gradient of every product."""

    @staticmethod
    def forward(ctx: Any, x_RTHd: Tensor, turns_2Td: Tensor) -> Tensor:
        ctx.save_for_backward(turns_2Td)
        return _turned(x_RTHd, turns_2Td, 1)

    @staticmethod
    def backward(ctx: Any, grad_RTHd: Tensor) -> tuple[Tensor, None]:
        return _turned(grad_RTHd, ctx.saved_tensors[0], -1), None


def _turned(x_RTHd: Tensor, turns_2Td: Tensor, way: int) -> Tensor:
    cos, sin = turns_2Td[:, :, None]
    return (x_RTHd * cos).addcmul_(x_RTHd.roll(x_RTHd.shape[-1] // 2, -1), sin, value=way)


def _mask(asking: range, positions: int, x: Tensor) -> Tensor | None:
    """Return which positions each of the last ones may read (t, T); None where the last position asks alone."""
    if asking.start == positions - 1:
        return None
    return torch.ones(len(asking), positions, dtype=torch.bool, device=x.device).tril(asking.start)

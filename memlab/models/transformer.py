"""Llama-style transformer blocks (shapes: see base.py)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.errors import UserError
from memlab.models.base import Stack, require_positive

WEIGHT_STD = 0.02
NORM_EPS = 1e-6
INNER_FACTOR = 4  # inner width of the SwiGLU over D


class TransformerStack(Stack):
    """(R, T, D) -> (R, T, D): N causal pre-norm blocks, then RMSNorm when `final_norm`.

    Rotary positions count from 0 at the first position. Any T works: `length` is only kept for the caller.
    Raises UserError when D / H is not a whole, even number.
    """

    weight_std = WEIGHT_STD

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        heads: int,
        length: int | None = None,
        theta: float = 10000.0,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        require_positive(width=width, layers=layers, heads=heads)
        if width % (2 * heads):
            raise UserError(
                f"width={width} must be a multiple of 2 * heads = {2 * heads} (rotary positions turn pairs of features"
                f" of a head): choose width={-(-width // (2 * heads)) * 2 * heads} or other heads."
            )
        self.width = width
        self.length = length
        self.theta = theta
        self.head_width = width // heads
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=NORM_EPS) if final_norm else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=WEIGHT_STD)

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Outputs at positions start..stop-1 (all of them by default); the last block computes no others."""
        turn = rotary_angles(x_RTD, self.head_width, self.theta)
        rotation = (turn.cos(), turn.sin())
        *early, last = self.blocks
        for block in early:
            x_RTD = block(x_RTD, rotation)
        normed: Tensor = self.norm(last(x_RTD, rotation, start, stop))
        return normed

    def at(self, x_RTD: Tensor, start: int, stop: int) -> Tensor:
        return self(x_RTD, start, stop)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + SwiGLU(norm(x)); no biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.gate_up = nn.Linear(width, 2 * INNER_FACTOR * width, bias=False)
        self.down = nn.Linear(INNER_FACTOR * width, width, bias=False)

    def forward(
        self, x_RTD: Tensor, rotation: tuple[Tensor, Tensor], start: int = 0, stop: int | None = None
    ) -> Tensor:
        mixed = self._attend(self.attention_norm(x_RTD), rotation, range(x_RTD.shape[1])[start:stop])
        x_RTD = x_RTD[:, start:stop] + self.attention_out(mixed)
        normed = self.mlp_norm(x_RTD)
        # Two products of one matrix: joined, their gradients would have to be copied into one tensor first.
        gate, up = (F.linear(normed, weight) for weight in self.gate_up.weight.chunk(2))
        out: Tensor = x_RTD + self.down(F.silu(gate) * up)
        return out

    def _attend(self, x_RTD: Tensor, rotation: tuple[Tensor, Tensor], asking: range) -> Tensor:
        """What the positions `asking` take from those up to themselves, (R, t, D)."""
        rows, positions, width = x_RTD.shape
        if len(asking) == positions:
            # The values apart: as a part of one tensor they would keep the unrotated queries and keys alive.
            for_query_key, for_value = self.query_key_value.weight.split((2 * width, width))
            q, k = F.linear(x_RTD, for_query_key).view(rows, positions, 2, self.heads, -1).unbind(2)
            v = F.linear(x_RTD, for_value).view(rows, positions, self.heads, -1)
            return attention(rotate(q, rotation), rotate(k, rotation), v, is_causal=True)
        for_query, for_key_value = self.query_key_value.weight.split((width, 2 * width))
        q = F.linear(x_RTD[:, asking.start : asking.stop], for_query).view(rows, len(asking), self.heads, -1)
        k, v = F.linear(x_RTD, for_key_value).view(rows, positions, 2, self.heads, -1).unbind(2)
        cos, sin = (angle[asking.start : asking.stop] for angle in rotation)
        mask = None
        if asking.start < positions - 1:  # the last position alone sees everything
            seen = torch.ones(positions, positions, dtype=torch.bool, device=x_RTD.device).tril()
            mask = seen[asking.start : asking.stop]
        return attention(rotate(q, (cos, sin)), rotate(k, rotation), v, attn_mask=mask)


def attention(q_RtHd: Tensor, k_RTHd: Tensor, v_RTHd: Tensor, **mask: Any) -> Tensor:
    """Softmax attention of every head, its outputs side by side: (R, t, D). `mask`: as PyTorch's function takes it.

    Heads are turned into place here, as views: the result takes the layout of the queries, so that it is not copied.
    """
    q, k, v = (x.transpose(1, 2) for x in (q_RtHd, k_RTHd, v_RTHd))
    return F.scaled_dot_product_attention(q, k, v, **mask).transpose(1, 2).flatten(2)


def rotary_angles(x_RTD: Tensor, head_width: int, theta: float) -> Tensor:
    """Angles (T, D/H/2) in radians: position * theta^(-2i / (D/H)), in fp32 whatever the precision of x."""
    positions = torch.arange(x_RTD.shape[1], device=x_RTD.device, dtype=torch.float32)
    pairs = torch.arange(0, head_width, 2, device=x_RTD.device, dtype=torch.float32)
    return positions[:, None] * theta ** (-pairs / head_width)


def rotate(x_RTHd: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn feature i and feature i + d/2 of every head as one complex number (the order of Llama's public weights)."""
    cos, sin = (angle[:, None] for angle in rotation)
    real, imaginary = x_RTHd.chunk(2, dim=-1)
    return torch.cat((real * cos - imaginary * sin, imaginary * cos + real * sin), dim=-1).to(x_RTHd.dtype)

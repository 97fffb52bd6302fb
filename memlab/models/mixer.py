"""Masked mixer blocks: token mixing by a learned lower-triangular matrix over positions (shapes: see base.py)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.errors import UserError
from memlab.models.base import Stack, require_positive

MLP_FACTOR = 4  # inner width of the MLP over D


class MixerStack(Stack):
    """(R, T, D) -> (R, T, D): N mixer blocks, no norm at the end.

    Positions are absolute: they are rows of the weights. An input of T < length positions uses the top-left T x T of
    every mixing matrix, so that a causal stack gives the same outputs as on a longer input.
    heads: 0 mixes all D features with one matrix ("flat"); H > 0 has one matrix per head behind a projection.
    taps: K matrices; tap j mixes feature d from feature d + j - floor((K-1)/2), zeros outside.
    Raises UserError when heads does not divide width, or taps reach beyond a head's features.
    """

    weight_std = None
    length: int  # a mixer always has one

    def __init__(
        self, *, width: int, layers: int, length: int, heads: int = 0, taps: int = 1, causal: bool = True
    ) -> None:
        super().__init__()
        require_positive(width=width, layers=layers, length=length, taps=taps)
        if heads < 0 or (heads and width % heads):
            raise UserError(f"heads={heads} must divide width={width}, or be 0 for a flat mixer.")
        head_width = width // heads if heads else width
        if taps > head_width:
            raise UserError(
                f"taps={taps} is more than the {head_width} features of a head: choose fewer taps or heads."
            )
        self.width = width
        self.length = length
        self.blocks = nn.ModuleList(MixerBlock(width, length, heads, taps, causal) for _ in range(layers))

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Outputs at positions start..stop-1 (all of them by default); the last block computes no others."""
        self.require_length(x_RTD.shape[1], "mixer")
        *early, last = self.blocks
        for block in early:
            x_RTD = block(x_RTD)
        out: Tensor = last(x_RTD, start, stop)
        return out

    def at(self, x_RTD: Tensor, start: int, stop: int) -> Tensor:
        return self(x_RTD, start, stop)


class MixerBlock(nn.Module):
    """x + mixing(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, width: int, length: int, heads: int, taps: int, causal: bool) -> None:
        super().__init__()
        self.mixing_norm = nn.LayerNorm(width)
        self.mixing: nn.Module
        if heads:
            self.mixing = HeadedMixing(width, length, heads, taps, causal)
        else:
            self.mixing = TokenMixing(length, 1, taps, causal)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, MLP_FACTOR * width), nn.GELU(), nn.Linear(MLP_FACTOR * width, width))

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        x_RTD = x_RTD[:, start:stop] + self.mixing(self.mixing_norm(x_RTD), start, stop)
        out: Tensor = x_RTD + self.mlp(self.mlp_norm(x_RTD))
        return out


class HeadedMixing(nn.Module):
    """A D -> D/H projection per head (done as one), one mixing matrix per head, D -> D output projection."""

    def __init__(self, width: int, length: int, heads: int, taps: int, causal: bool) -> None:
        super().__init__()
        self.project_in = nn.Linear(width, width)
        self.tokens = TokenMixing(length, heads, taps, causal)
        self.project_out = nn.Linear(width, width)

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        out: Tensor = self.project_out(self.tokens(self.project_in(x_RTD), start, stop))
        return out


class TokenMixing(nn.Module):
    """out[t, d] = bias[t] + sum over taps j and positions s <= t of weight[j, t, s] * x[s, d + j - floor((K-1)/2)].

    That is a 1-D convolution over features whose channels are positions; it is drawn as PyTorch draws one (uniform
    within 1 / sqrt(L*K)). All heads are one batched product; the mask is applied to a copy of the weights in it.
    """

    def __init__(self, length: int, heads: int, taps: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        bound = 1 / math.sqrt(length * taps)
        self.weight_HKLL = nn.Parameter(torch.empty(heads, taps, length, length).uniform_(-bound, bound))
        self.bias_HL = nn.Parameter(torch.empty(heads, length).uniform_(-bound, bound))

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        rows, positions, width = x_RTD.shape
        heads, taps = self.weight_HKLL.shape[:2]
        rows_out = range(positions)[start:stop]
        weight = self.weight_HKLL[:, :, rows_out.start : rows_out.stop, :positions]
        if self.causal:
            weight = weight.tril(rows_out.start)
        bias = self.bias_HL[:, rows_out.start : rows_out.stop, None]
        if heads == 1 and taps == 1:
            return torch.baddbmm(bias, weight[0].expand(rows, -1, -1), x_RTD)
        # One product per head over all rows at once: (t, K*T) x (K*T, R*D/H).
        x_HTRd = x_RTD.view(rows, positions, heads, width // heads).permute(2, 1, 0, 3)
        if taps > 1:
            padded = F.pad(x_HTRd, ((taps - 1) // 2, taps // 2))
            x_HTRd = torch.cat([padded[..., j : j + width // heads] for j in range(taps)], dim=1)
            weight = weight.transpose(1, 2)
        weight = weight.reshape(heads, len(rows_out), -1)
        mixed = torch.baddbmm(bias, weight, x_HTRd.reshape(heads, taps * positions, -1))
        return mixed.view(heads, len(rows_out), rows, -1).permute(2, 1, 0, 3).reshape(rows, len(rows_out), width)

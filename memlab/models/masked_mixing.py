"""Masked mixing: a learned lower-triangular matrix over positions (shapes: see base.py)."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.errors import UserError
from memlab.models.base import require_positive
from memlab.models.token_mixer import TokenMixer, extend


class MaskedMixing(TokenMixer):
    """out[t, d] = bias[t] + sum over taps j and positions s <= t of weight[j, t, s] * x[s, d + j - floor((K-1)/2)].

    This is a 1-D convolution over features whose channels are positions; it is drawn as PyTorch draws one: uniform
    within 1 / sqrt(L*K). Features outside 0..D-1 count as zero. The mask is applied to a copy of the weights.
    Positions are absolute (they are rows of the weights): T < length inputs use the top-left T x T of each matrix.

    heads: 0 mixes all D features with one matrix ("flat"). H > 0 puts a biased D -> D projection in front, mixes each
        head's D/H features with a matrix of its own, and ends with another biased D -> D projection.
    taps: K, the number of matrices per head.
    causal: False lets position t read all positions.
    Raises UserError when heads does not divide width, when taps is more than a head's features, and for inputs of
    more than `length` positions.
    """

    def __init__(self, width: int, length: int, *, heads: int = 0, taps: int = 1, causal: bool = True) -> None:
        super().__init__(width, length)
        require_positive(width=width, length=length, taps=taps)
        if heads < 0 or (heads and width % heads):
            raise UserError(f"heads={heads} must divide width={width}, or be 0 for a flat mixer.")
        head_width = width // heads if heads else width
        if taps > head_width:
            raise UserError(
                f"taps={taps} is more than the {head_width} features of a head: choose fewer taps or heads."
            )
        self.causal = causal
        bound = 1 / math.sqrt(length * taps)
        self.weight_HKLL = nn.Parameter(torch.empty(heads or 1, taps, length, length).uniform_(-bound, bound))
        self.bias_HL = nn.Parameter(torch.empty(heads or 1, length).uniform_(-bound, bound))
        self.project_in: nn.Module = nn.Linear(width, width) if heads else nn.Identity()
        self.project_out: nn.Module = nn.Linear(width, width) if heads else nn.Identity()

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        return self.project_out(self._mix(self.project_in(x_RTD), start, stop))

    def step(self, x_RtD: Tensor, state: Any) -> Tensor:
        """Multiply the kept (projected) inputs by the new positions' rows of the matrices."""
        inputs_RTD = extend(state, "inputs", self.project_in(x_RtD))
        return self.project_out(self._mix(inputs_RTD, inputs_RTD.shape[1] - x_RtD.shape[1]))

    def _mix(self, x_RTD: Tensor, start: int, stop: int | None = None) -> Tensor:
        rows, positions, width = x_RTD.shape
        heads, taps, length, _ = self.weight_HKLL.shape
        if positions > length:
            raise UserError(f"{positions} positions for a mixer of {length}: build it with length={positions}.")
        out = range(positions)[start:stop]
        weight = self.weight_HKLL[:, :, out.start : out.stop, :positions]
        if self.causal:
            weight = weight.tril(out.start)
        bias = self.bias_HL[:, out.start : out.stop, None]
        if heads == 1 and taps == 1:
            return _product_and_bias(weight[0].expand(rows, -1, -1), x_RTD, bias)
        # One product per head over all rows at once: (t, K*T) x (K*T, R*D/H).
        x_HTRd = x_RTD.view(rows, positions, heads, width // heads).permute(2, 1, 0, 3)
        if taps > 1:
            padded = F.pad(x_HTRd, ((taps - 1) // 2, taps // 2))
            x_HTRd = torch.cat([padded[..., j : j + width // heads] for j in range(taps)], dim=1)
            weight = weight.transpose(1, 2)
        weight = weight.reshape(heads, len(out), -1)
        mixed = _product_and_bias(weight, x_HTRd.reshape(heads, taps * positions, -1), bias)
        return mixed.view(heads, len(out), rows, -1).permute(2, 1, 0, 3).reshape(rows, len(out), width)


def _product_and_bias(a: Tensor, b: Tensor, bias: Tensor) -> Tensor:
    """Return a @ b + bias, by the batch.

    The compiler pads products of odd sizes (slots make them odd) and adds the bias on the way; baddbmm allows neither.
    """
    return torch.bmm(a, b) + bias if torch.compiler.is_compiling() else torch.baddbmm(bias, a, b)

"""What memories pass through before they are stored: quantisation, noise (shapes: see base.py).

A channel is a module (R, M, d) -> (R, M, d). `bits` says what storing one of its outputs takes; 32 without a channel.
"""

import torch
from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.ports import FLOAT_BITS

MOST_BITS = 16


class Quantise(nn.Module):
    """Memories are bounded by tanh and rounded to one of 2^bits values, evenly spaced from -1 to 1.

    straight_through: round in training, too, and pass the gradient through as if nothing had been rounded (Bengio et
        al. 2013); otherwise training sees the bounded memories, and rounding begins with evaluation.
    Raises UserError unless 1 <= bits <= 16.
    """

    def __init__(self, bits: int, straight_through: bool = True) -> None:
        super().__init__()
        if not 1 <= bits <= MOST_BITS:
            raise UserError(f"bits={bits}: choose 1 to {MOST_BITS}.")
        self.bits = bits
        self.straight_through = straight_through

    def forward(self, x: Tensor) -> Tensor:
        bounded = torch.tanh(x.float())
        if self.training and not self.straight_through:
            return bounded.to(x.dtype)
        step = 2 / (2**self.bits - 1)
        rounded = torch.round((bounded + 1) / step) * step - 1
        return (bounded + (rounded - bounded).detach()).to(x.dtype)


class GaussianNoise(nn.Module):
    """In training, add N(0, 1) times `std` times the root mean square of each memory; in evaluation, nothing.

    Raises UserError for a negative std.
    """

    bits = FLOAT_BITS

    def __init__(self, std: float) -> None:
        super().__init__()
        if std < 0:
            raise UserError(f"std={std}: choose 0 or more.")
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.std:
            return x
        size = x.detach().square().mean(-1, keepdim=True).sqrt()
        return x + self.std * size * torch.randn_like(x)

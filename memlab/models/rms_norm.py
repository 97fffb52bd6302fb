"""RMS norm (shapes: see base.py)."""

from typing import Any

import torch
from torch import Tensor, nn

from memlab.models.base import require_positive


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last D features, as Llama's; computed in fp32 for any precision.

    torch.nn.RMSNorm has the same weights and outputs. On CPUs it takes its gradient through every single operation,
    which makes forward and backward together about twice as long.
    """

    def __init__(self, width: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        require_positive(width=width)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        weight = self.weight.to(wide.dtype)
        if not torch.is_grad_enabled():  # a step of decoding is small: starting the function would be half of it
            return _normalized(wide, weight, _scale(wide, self.eps)).to(x.dtype)
        return _Normalize.apply(wide, weight, self.eps).to(x.dtype)


def _scale(x: Tensor, eps: float) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()


def _normalized(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return (x * scale).mul_(weight)


class _Normalize(torch.autograd.Function):
    """y = r * x * w with r = (mean(x^2) + eps)^(-1/2).

    With g the gradient of y and D features: dw = sum of g * r * x; dx = r * (g * w - x * r^2 / D * sum(g * w * x)).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = _scale(x, eps)
        ctx.save_for_backward(x, weight, scale)
        return _normalized(x, weight, scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, scale = ctx.saved_tensors
        by_x = (grad * x).reshape(-1, x.shape[-1])
        inner = torch.mv(by_x, weight).view(scale.shape)  # sum of g * w * x
        of_weight = torch.mv(by_x.t(), scale.flatten())
        of_x = (grad * weight).mul_(scale)
        of_x.addcmul_(x, inner * scale**3, value=-1 / x.shape[-1])
        return of_x, of_weight, None

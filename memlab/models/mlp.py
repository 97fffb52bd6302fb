"""Channel MLPs of a block: (R, T, D) -> (R, T, D), each position by itself (shapes: see base.py)."""

from torch import Tensor, nn
from torch.nn import functional as F

from memlab.models.base import require_positive


class GeluMLP(nn.Sequential):
    """A biased linear to `factor` * D features, GELU, a biased linear back."""

    def __init__(self, width: int, *, factor: int = 4) -> None:
        require_positive(width=width, factor=factor)
        super().__init__(nn.Linear(width, factor * width), nn.GELU(), nn.Linear(factor * width, width))


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)) with `factor` * D inner features and no biases, as in Llama."""

    def __init__(self, width: int, *, factor: int = 4) -> None:
        super().__init__()
        require_positive(width=width, factor=factor)
        self.gate_up = nn.Linear(width, 2 * factor * width, bias=False)
        self.down = nn.Linear(factor * width, width, bias=False)

    def forward(self, x_RTD: Tensor) -> Tensor:
        # Two products of one matrix: joined, their gradients would have to be copied into one tensor first.
        gate, up = (F.linear(x_RTD, weight) for weight in self.gate_up.weight.chunk(2))
        return self.down(F.silu(gate) * up)

"""What a token mixer promises (shapes: see base.py)."""

from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from memlab.errors import UserError

ROOM = 256  # positions


class StepByStep(nn.Module):
    """A causal map (R, T, D) -> (R, T, D), computed for all positions at once or a few positions at a time.

    Subclasses set `width` and define `forward`. The default of `begin` and `step` keeps all inputs and calls `forward`
    on them at every step; override `begin`, `step` and `state_size` to compute only what is new.
    """

    width: int
    causal: bool = True  # whether output t depends on inputs up to t alone

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Return the outputs (R, stop - start, D) at positions start..stop-1; by default at all positions."""
        raise NotImplementedError

    def begin(self, rows: int) -> Any:
        """Return the state in front of position 0 for `rows` sequences. Raise UserError if the map is not causal."""
        if not self.causal:
            raise UserError(f"{type(self).__name__} reads later positions: it cannot decode step by step.")
        return {}

    def step(self, x_RtD: Tensor, state: Any) -> Tensor:
        """Return the outputs (R, t, D) at the next t positions, and change `state` in place."""
        inputs_RTD = extend(state, "inputs", x_RtD)
        return self(inputs_RTD, inputs_RTD.shape[1] - x_RtD.shape[1])

    def snapshot(self, state: Any) -> Any:
        """Return a second state at the same position. Use one of the two, drop it, and only then use the other.

        They may share memory. A shallow copy is enough where `step` replaces what the state holds, or uses `extend`.
        """
        return copy(state)

    def state_size(self, length: int) -> int:
        """Return how many floats the state holds per sequence after `length` positions."""
        return length * self.width


class TokenMixer(StepByStep):
    """The part of a block that moves information between positions; norms, residuals and MLP belong to the block.

    length: number of positions that the weights are made for; None: any.
    """

    def __init__(self, width: int, length: int | None = None) -> None:
        super().__init__()
        self.width = width
        self.length = length


def extend(state: dict[str, Any], name: str, x_RtD: Tensor) -> Tensor:
    """Append positions to what the state keeps under a name, and return all of them, (R, T, ...).

    Without gradients, room for more positions is kept behind them: a step then copies its own positions, not all.
    """
    kept = state.get(name, x_RtD[:, :0])
    if torch.is_grad_enabled():
        state[name] = torch.cat((kept, x_RtD), dim=1)
        return state[name]
    before, total = kept.shape[1], kept.shape[1] + x_RtD.shape[1]
    room = getattr(kept, "room", kept)
    if room.shape[1] < total:
        room = kept.new_empty(len(kept), total + ROOM, *kept.shape[2:])
        room[:, :before] = kept
    room[:, before:total] = x_RtD
    state[name] = room[:, :total]
    state[name].room = room
    return state[name]

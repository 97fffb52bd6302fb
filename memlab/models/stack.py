"""Blocks around token mixers, and stacks of blocks (shapes: see base.py)."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.base import require_positive
from memlab.models.token_mixer import StepByStep, TokenMixer

MakeMixer = Callable[[int, int], TokenMixer]
MakeModule = Callable[[int], nn.Module]


class Block(nn.Module):
    """x + mixer(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, width: int, mixer: TokenMixer, mlp: MakeModule, norm: MakeModule) -> None:
        super().__init__()
        self.mixing_norm = norm(width)
        self.mixer = mixer
        self.mlp_norm = norm(width)
        self.mlp = mlp(width)

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        x_RTD = x_RTD[:, start:stop] + self.mixer(self.mixing_norm(x_RTD), start, stop)
        return x_RTD + self.mlp(self.mlp_norm(x_RTD))

    def step(self, x_RtD: Tensor, state: Any) -> Tensor:
        x_RtD = x_RtD + self.mixer.step(self.mixing_norm(x_RtD), state)
        return x_RtD + self.mlp(self.mlp_norm(x_RtD))


class Stack(StepByStep):
    """(R, T, D) -> (R, T, D): N blocks and, if `final_norm`, a norm; no embedding, no head.

    length: positions that the stack is built for; stacks whose mixers take any number do not need it.
    mixer: factory (width, length) -> TokenMixer, or a list of factories: layer i takes number i modulo their count.
    mlp, norm: factories (width) -> Module.
    weight_std: standard deviation of the weights of every nn.Linear of the stack, and of its decoder's head; None:
        PyTorch's default.
    Raises UserError for sizes below 1, an empty list of mixers, and a mixer that is no TokenMixer.
    """

    def __init__(
        self,
        length: int,
        *,
        width: int,
        layers: int,
        mixer: MakeMixer | Sequence[MakeMixer],
        mlp: MakeModule,
        norm: MakeModule,
        final_norm: bool = False,
        weight_std: float | None = None,
    ) -> None:
        super().__init__()
        require_positive(length=length, width=width, layers=layers)
        factories = [mixer] if callable(mixer) else list(mixer)
        if not factories:
            raise UserError("mixer=[]: name at least one token mixer.")
        mixers = [factories[layer % len(factories)](width, length) for layer in range(layers)]
        for made in mixers:
            if not isinstance(made, TokenMixer):
                raise UserError(
                    f"mixer={type(made).__name__} is no token mixer: derive it from memlab.models.TokenMixer."
                )
        self.width = width
        self.length = length
        self.weight_std = weight_std
        self.causal = all(made.causal for made in mixers)
        self.blocks = nn.ModuleList(Block(width, made, mlp, norm) for made in mixers)
        self.norm = norm(width) if final_norm else nn.Identity()
        if weight_std is not None:
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=weight_std)

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None, read_layers: int | None = None) -> Tensor:
        """Return the outputs at positions start..stop-1 (by default all); the last block computes no others.

        read_layers: return the first n blocks' outputs, without the final norm; None: all blocks, and the norm.
        """
        *early, last = self._blocks()[:read_layers]
        for block in early:
            x_RTD = block(x_RTD)
        out_RTD = last(x_RTD, start, stop)
        return self.norm(out_RTD) if read_layers is None else out_RTD

    def begin(self, rows: int) -> list[Any]:
        """Return the states of all layers' mixers."""
        return [block.mixer.begin(rows) for block in self._blocks()]

    def step(self, x_RtD: Tensor, state: list[Any]) -> Tensor:
        for block, of_layer in zip(self._blocks(), state, strict=True):
            x_RtD = block.step(x_RtD, of_layer)
        return self.norm(x_RtD)

    def snapshot(self, state: list[Any]) -> list[Any]:
        return [block.mixer.snapshot(of_layer) for block, of_layer in zip(self._blocks(), state, strict=True)]

    def state_size(self, length: int) -> int:
        return sum(block.mixer.state_size(length) for block in self._blocks())

    def _blocks(self) -> list[Any]:  # a slice of a ModuleList would build a new module at every call
        return list(self.blocks)

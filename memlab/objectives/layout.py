"""What an objective is told about a batch beside its tokens."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Layout:
    """How a sequence is cut: `chunks` chunks of `length` tokens."""

    chunks: int
    length: int


@dataclass(frozen=True)
class Draw:
    """What is particular to a training step.

    progress: share of the stage's steps that are done, 0 to 1.
    generator: source of random masks and places; None: those of evaluation, which are the same every time.
    """

    progress: float = 1.0
    generator: torch.Generator | None = None


EVALUATION = Draw()

"""Autoencoding."""

import torch
from torch import Tensor

from memlab.errors import UserError
from memlab.objectives.base import Objective
from memlab.objectives.table import Table


class Autoencode(Objective):
    """Regenerate a chunk from its memories. One chunk per window, L = 4:

    inputs x0 x1 x2 x3     labels x0 x1 x2 x3 (not shifted)

    The decoder reads no tokens: free-running decoding is teacher-forced decoding.
    """

    name = "autoencode"
    shift = 0
    models = ("autoencoder",)

    def window(self, chunks: int, length: int) -> int:
        if length < 1:
            raise UserError(f"A chunk of {length} tokens: take at least 1.")
        return length

    def tables(
        self,
        tokens_BT: Tensor,
        chunks: int,
        length: int,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> list[Table]:
        self._require_window(tokens_BT, chunks, length)
        inputs = tokens_BT.view(-1, 1, length)
        return [Table(self.name, inputs, inputs, range(1))]

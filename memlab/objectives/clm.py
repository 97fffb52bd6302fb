"""Causal language modelling."""

import torch
from torch import Tensor

from memlab.objectives.base import Objective, next_token_labels, require_next_token_layout
from memlab.objectives.table import Table


class CausalLanguageModelling(Objective):
    """Next-token prediction within each chunk. C = 2, L = 4 (x data, . no loss):

    inputs x0 x1 x2 x3 | x4 x5 x6 x7     labels  . x1 x2 x3 |  . x5 x6 x7
    """

    name = "clm"

    def window(self, chunks: int, length: int) -> int:
        require_next_token_layout(chunks, length)
        return chunks * length

    def tables(
        self,
        tokens_BT: Tensor,
        chunks: int,
        length: int,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> list[Table]:
        self._require_window(tokens_BT, chunks, length)
        inputs = tokens_BT.view(-1, chunks, length)
        return [Table(self.name, inputs, next_token_labels(inputs), range(chunks), content=tuple(range(chunks)))]

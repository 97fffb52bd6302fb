"""Next-token prediction and copying together."""

import torch
from torch import Tensor

from memlab.errors import UserError
from memlab.objectives.base import Objective, next_token_labels
from memlab.objectives.copy import copy_table, copy_window
from memlab.objectives.table import Table


class Combined(Objective):
    """A clm pass, and a copy pass of the first half with a delimiter. C = 2, L = 4 (x data, # delimiter, . no loss):

    clm   inputs x0 x1 x2 x3 | x4 x5 x6 x7     labels  . x1 x2 x3 |  . x5 x6 x7
    copy  inputs x0 x1 x2 x3 |  #  #  # x3     labels  .  .  .  . |  .  .  . x3

    loss = (1 - copy_weight) * mean of clm + copy_weight * mean of copy. Raises UserError for a weight outside [0, 1].
    """

    name = "combined"
    retained = ("copy",)

    def __init__(self, *, blank: int, delimiter: int, copy_weight: float = 0.5) -> None:
        super().__init__(blank=blank, delimiter=delimiter)
        if not 0 <= copy_weight <= 1:
            raise UserError(f"copy_weight={copy_weight}: choose the copy pass's share of the loss, between 0 and 1.")
        self.copy_weight = copy_weight

    def window(self, chunks: int, length: int) -> int:
        return 2 * copy_window(chunks, length)

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
        labels = next_token_labels(inputs)
        first = tokens_BT[:, : tokens_BT.shape[1] // 2]
        half = tuple(range(chunks // 2))
        copy_share = self.copy_weight
        return [
            Table("clm", inputs, labels, range(chunks), 1 - copy_share, tuple(range(chunks))),
            copy_table("copy", first, first, chunks, length, half, delimiter=self.delimiter, weight=copy_share),
        ]

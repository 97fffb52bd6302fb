"""Copying from memories alone."""

import torch
from torch import Tensor

from memlab.objectives.base import Objective
from memlab.objectives.copy import copy_table, copy_window
from memlab.objectives.table import BLANKS, Table


class BlankCopy(Objective):
    """Copying with the second half's tokens hidden. C = 2, L = 4 (x data, _ blank, . no loss):

    inputs x0 x1 x2 x3 |  _  _  _  _     labels  .  .  .  . |  . x1 x2 x3

    No target is visible: free-running decoding is teacher-forced decoding.
    """

    name = "blank_copy"

    def window(self, chunks: int, length: int) -> int:
        return copy_window(chunks, length)

    def tables(
        self,
        tokens_BT: Tensor,
        chunks: int,
        length: int,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> list[Table]:
        self._require_window(tokens_BT, chunks, length)
        blanks = torch.full_like(tokens_BT, self.blank)
        return [copy_table(self.name, tokens_BT, blanks, chunks, length, (BLANKS,) * (chunks // 2))]

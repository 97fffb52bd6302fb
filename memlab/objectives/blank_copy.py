"""Copying from memories alone."""

import torch
from torch import Tensor

from memlab.objectives.base import Objective
from memlab.objectives.copy import copy_table, copy_window
from memlab.objectives.layout import Draw, Layout
from memlab.objectives.table import BLANKS, Table


class BlankCopy(Objective):
    """Copying with the second half's tokens hidden. C = 2, L = 4 (x data, _ blank, . no loss):

    inputs x0 x1 x2 x3 |  _  _  _  _     labels  .  .  .  . |  . x1 x2 x3

    No target is visible: greedy decoding is teacher-forced decoding.
    """

    name = "blank_copy"

    def window(self, layout: Layout) -> int:
        return copy_window(layout)

    def tables(self, tokens_BT: Tensor, layout: Layout, draw: Draw | None = None) -> list[Table]:
        self._require_window(tokens_BT, layout)
        blanks = torch.full_like(tokens_BT, self.blank)
        content = (BLANKS,) * (layout.chunks // 2)
        return [copy_table(self.name, tokens_BT, blanks, layout, content, padding=self.blank)]

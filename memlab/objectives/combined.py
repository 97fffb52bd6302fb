"""Next-token prediction and copying together."""

from dataclasses import replace

import torch
from torch import Tensor

from memlab.errors import UserError
from memlab.objectives.base import Objective, next_token_labels
from memlab.objectives.copy import copy_table, copy_window
from memlab.objectives.layout import Draw, Layout
from memlab.objectives.table import BLANKS, Table, window_chunks


class Combined(Objective):
    """A clm pass, and a copy pass of the first half with a delimiter. C = 2, L = 4 (x data, # delimiter, . no loss):

    clm   inputs x0 x1 x2 x3 | x4 x5 x6 x7     labels  . x1 x2 x3 |  . x5 x6 x7
    copy  inputs x0 x1 x2 x3 |  #  #  # x3     labels  .  .  .  . |  .  .  . x3

    copy  inputs x0 x1 x2 x3 |  #  #  # _      in training, with blank_copy

    loss = (1 - copy_weight) * mean of clm + copy_weight * mean of copy. Raises UserError for a weight outside [0, 1].
    blank_copy: in training the copy pass hides the second half; evaluation shows it.
    """

    name = "combined"
    retained = ("copy",)

    def __init__(self, *, blank: int, delimiter: int, copy_weight: float = 0.5, blank_copy: bool = False) -> None:
        super().__init__(blank=blank, delimiter=delimiter)
        if not 0 <= copy_weight <= 1:
            raise UserError(f"copy_weight={copy_weight}: choose the copy pass's share of the loss, between 0 and 1.")
        self.copy_weight = copy_weight
        self.blank_copy = blank_copy

    def window(self, layout: Layout) -> int:
        return 2 * copy_window(layout)

    def tables(self, tokens_BT: Tensor, layout: Layout, draw: Draw | None = None) -> list[Table]:
        self._require_window(tokens_BT, layout)
        inputs = tokens_BT.view(-1, layout.chunks, layout.length)
        labels = next_token_labels(inputs, self.blank)
        first = tokens_BT[:, : tokens_BT.shape[1] // 2]
        second, content = first, window_chunks(layout.chunks // 2)
        if self.blank_copy and draw is not None:
            second, content = torch.full_like(first, self.blank), (BLANKS,) * (layout.chunks // 2)
        share = self.copy_weight
        clm = Table("clm", inputs, labels, range(layout.chunks), 1 - share, window_chunks(layout.chunks))
        copied = copy_table("copy", first, second, layout, content, padding=self.blank, delimiter=self.delimiter)
        return [clm, replace(copied, weight=share)]

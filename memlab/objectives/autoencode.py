"""Autoencoding."""

from torch import Tensor

from memlab.errors import UserError
from memlab.objectives.base import Objective
from memlab.objectives.layout import Draw, Layout
from memlab.objectives.table import IGNORE, Table, window_chunks


class Autoencode(Objective):
    """Regenerate a chunk from its memories. One chunk per window, L = 4:

    inputs x0 x1 x2 x3     labels x0 x1 x2 x3 (not shifted)

    The decoder reads no tokens: greedy decoding is teacher-forced decoding.
    """

    name = "autoencode"
    needs = "regenerate"
    advice = "take encoder=frozen_autoencoder, or curriculum=probe to read another encoder"
    shift = 0

    def window(self, layout: Layout) -> int:
        if layout.length < 1:
            raise UserError(f"A chunk of {layout.length} tokens: take at least 1.")
        return layout.length

    def tables(self, tokens_BT: Tensor, layout: Layout, draw: Draw | None = None) -> list[Table]:
        self._require_window(tokens_BT, layout)
        inputs = tokens_BT.view(-1, 1, layout.length)
        labels = inputs.masked_fill(inputs == self.blank, IGNORE)
        return [Table(self.name, inputs, labels, range(1), content=window_chunks(1))]

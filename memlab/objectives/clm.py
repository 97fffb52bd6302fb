"""Causal language modelling."""

from torch import Tensor

from memlab.errors import UserError
from memlab.objectives.base import Objective, next_token_labels
from memlab.objectives.layout import Draw, Layout
from memlab.objectives.table import Table, window_chunks


class CausalLanguageModelling(Objective):
    """Next-token prediction within each chunk. C = 2, L = 4 (x data, . no loss):

    inputs x0 x1 x2 x3 | x4 x5 x6 x7     labels  . x1 x2 x3 |  . x5 x6 x7
    """

    name = "clm"

    def window(self, layout: Layout) -> int:
        if layout.chunks < 1 or layout.length < 2:
            raise UserError(
                f"{layout.chunks} chunks of {layout.length} tokens: take at least 1 chunk of at least 2 tokens."
            )
        return layout.chunks * layout.length

    def tables(self, tokens_BT: Tensor, layout: Layout, draw: Draw | None = None) -> list[Table]:
        self._require_window(tokens_BT, layout)
        inputs = tokens_BT.view(-1, layout.chunks, layout.length)
        labels = next_token_labels(inputs, self.blank)
        return [Table(self.name, inputs, labels, range(layout.chunks), content=window_chunks(layout.chunks))]

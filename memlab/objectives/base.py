"""What every objective promises.

Shape legend of this package: B batch, C chunks, c the first chunks of a window, L tokens per chunk, M memories per
chunk, D width, V vocabulary, T tokens of data per window, n scored chunks, R windows.
"""

from typing import ClassVar

import torch
from torch import Tensor

from memlab.errors import UserError
from memlab.models import LanguageModel
from memlab.objectives.layout import Draw, Layout
from memlab.objectives.memories import memories_of
from memlab.objectives.scoring import Sums, score
from memlab.objectives.table import IGNORE, Table


class Objective:
    """How windows of tokens become tables: what is read, and what is scored.

    blank, delimiter: the tokenizer's ids of these tokens. Blanks in the data are padding: they are read, not scored.
    needs: what a model must be able to do, one of the words in LanguageModel.can.
    advice: what to choose instead of a model that cannot.
    shift: 1: the logit at t scores token t+1 of its chunk; 0: token t.
    retained: names of the tables whose targets are visible as inputs, so that teacher-forced accuracy is optimistic;
        they are also decoded greedily (memlab/measures/greedy.py).
    """

    name: ClassVar[str]
    needs: ClassVar[str] = "predict"
    advice: ClassVar[str] = "choose another objective"
    shift: ClassVar[int] = 1
    retained: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, blank: int, delimiter: int) -> None:
        self.blank = blank
        self.delimiter = delimiter

    def window(self, layout: Layout) -> int:
        """Return the tokens of data per window. Raises UserError for a layout that the objective does not have."""
        raise NotImplementedError

    def tables(self, tokens_BT: Tensor, layout: Layout, draw: Draw | None = None) -> list[Table]:
        """Return the passes over a batch. draw: None: those of evaluation.

        Raises UserError for windows of another size than `window` says.
        """
        raise NotImplementedError

    def losses(
        self,
        model: LanguageModel,
        tokens_BT: Tensor,
        layout: Layout,
        *,
        draw: Draw | None = None,
        known_BcMD: Tensor | None = None,
        part: slice = slice(None),
    ) -> tuple[Tensor, dict[str, Sums]]:
        """Return mean nats per scored token (the tables' means, weighted), and the sums of each table by its name.

        part: windows that this process takes. Random masks are drawn for all windows, and a part's loss is weighted by
            its scored tokens, so that the mean over equal parts is the loss of the whole batch.
        known_BcMD: `model.make_memories` of the first c chunks of the part's windows, where they were kept.
        """
        whole = self.tables(tokens_BT, layout, draw)
        tables = [table.rows(part) for table in whole]
        sums: dict[str, Sums] = {}
        means = []
        for of_all, table, memories_BcMD in zip(whole, tables, memories_of(model, tables, known_BcMD), strict=True):
            hidden_BnLD = model.hidden(table.inputs_BCL, table.scored, memories_BcMD)
            mean, sums[table.name] = score(model.head, hidden_BnLD, table, self.shift)
            means.append(table.weight * mean * _density(table, of_all))
        return torch.stack(means).sum() / sum(table.weight for table in tables), sums

    def require(self, model: LanguageModel) -> None:
        """Raise UserError for a model that cannot do what the objective needs."""
        if self.needs not in model.can:
            raise UserError(
                f"objective={self.name} needs a model that can {self.needs}, and {type(model).__name__} can"
                f" {', '.join(sorted(model.can)) or 'nothing'}: {self.advice}."
            )
        if self.retained and not model.generates:
            raise UserError(
                f"objective={self.name} is evaluated by greedy decoding, too, and {type(model).__name__} must be told"
                " what it decodes: choose objective=clm."
            )

    def _require_window(self, tokens_BT: Tensor, layout: Layout) -> None:
        needed = self.window(layout)
        if tokens_BT.shape[1] != needed:
            raise UserError(
                f"{self.name} with {layout.chunks} chunks of {layout.length} tokens takes windows of {needed} tokens,"
                f" not {tokens_BT.shape[1]}."
            )


def _density(part: Table, whole: Table) -> Tensor | float:
    """Return scored tokens per window of a part, over those of the whole batch: 1 but for padded windows."""
    if len(part.labels_BCL) == len(whole.labels_BCL):
        return 1.0
    of_part, of_whole = ((table.labels_BCL != IGNORE).sum() for table in (part, whole))
    return (of_part * len(whole.labels_BCL)) / (of_whole * len(part.labels_BCL)).clamp(min=1)


def next_token_labels(tokens_BCL: Tensor, padding: int) -> Tensor:
    """Return the labels of next-token prediction: every token but padding and the first token of each chunk."""
    labels = tokens_BCL.masked_fill(tokens_BCL == padding, IGNORE)
    labels[:, :, 0] = IGNORE
    return labels

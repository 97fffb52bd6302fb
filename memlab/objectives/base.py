"""What every objective promises.

Shape legend of this package: B batch, C chunks, L tokens per chunk, M memories per chunk, D width, V vocabulary,
T tokens of data per window, n scored chunks, R windows.
"""

from typing import ClassVar

import torch
from torch import Tensor

from memlab.errors import UserError
from memlab.models.base import LanguageModel
from memlab.objectives.memories import memories_of
from memlab.objectives.scoring import Sums, score
from memlab.objectives.table import IGNORE, Table


class Objective:
    """How a window of tokens becomes tables. `shift` 1: the logit at t scores token t+1 of its chunk; 0: token t.

    retained: names of the tables that copy text in sight of it, so that teacher forcing flatters them: these are
    decoded free-running as well (free_running.py).
    """

    name: ClassVar[str]
    models: ClassVar[tuple[str, ...]] = ("memory", "causal", "full_context", "recurrent")  # kinds it can train
    shift: ClassVar[int] = 1
    retained: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, blank: int, delimiter: int) -> None:
        self.blank = blank
        self.delimiter = delimiter

    def window(self, chunks: int, length: int) -> int:
        """Tokens of data per window. Raises UserError for a layout the objective does not have."""
        raise NotImplementedError

    def tables(
        self,
        tokens_BT: Tensor,
        chunks: int,
        length: int,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> list[Table]:
        """Passes of a batch. progress: share of the stage's steps done; generator: where random masks come from."""
        raise NotImplementedError

    def losses(
        self,
        model: LanguageModel,
        tokens_BT: Tensor,
        *,
        chunks: int,
        length: int,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
        known_BcMD: Tensor | None = None,
        part: slice = slice(None),
    ) -> tuple[Tensor, dict[str, Sums]]:
        """Mean nats per scored token (the tables' means, weighted), and the sums of each table by its name.

        part: windows that this process takes; random masks are drawn for all, so that it does not matter how many
        processes share a batch. known: memories of the part's first c chunks as `model.embed` makes them, where they
        were kept.
        """
        tables = [table.rows(part) for table in self.tables(tokens_BT, chunks, length, progress, generator)]
        sums: dict[str, Sums] = {}
        means = []
        for table, memories_BcMD in zip(tables, memories_of(model, tables, known_BcMD), strict=True):
            hidden_BnLD = model.hidden(table.inputs_BCL, table.scored, memories_BcMD)
            mean, sums[table.name] = score(model.head, hidden_BnLD, table, self.shift)
            means.append(table.weight * mean)
        return torch.stack(means).sum() / sum(table.weight for table in tables), sums

    def _require_window(self, tokens_BT: Tensor, chunks: int, length: int) -> None:
        needed = self.window(chunks, length)
        if tokens_BT.shape[1] != needed:
            raise UserError(
                f"{self.name} with {chunks} chunks of {length} tokens takes windows of {needed} tokens, not"
                f" {tokens_BT.shape[1]}."
            )


def require_next_token_layout(chunks: int, length: int) -> None:
    """Raise UserError unless there is a chunk, and a token to predict in it."""
    if chunks < 1 or length < 2:
        raise UserError(f"{chunks} chunks of {length} tokens: take at least 1 chunk of at least 2 tokens.")


def next_token_labels(tokens_BCL: Tensor) -> Tensor:
    """Labels of next-token prediction: every token but the first of each chunk."""
    labels = tokens_BCL.clone()
    labels[:, :, 0] = IGNORE
    return labels

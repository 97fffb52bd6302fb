"""Token tables and their loss: the one place that knows how an objective is laid out and scored.

Shape legend: B batch, C chunks, L tokens per chunk, D width, V vocabulary, T tokens of data per window, n scored
chunks, R windows. Labels stand at the token they score; IGNORE marks a position without loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from memlab.models.base import LanguageModel

IGNORE = -100
LOGITS_AT_ONCE = 2**27  # numbers; more are computed in pieces, and again in the backward pass


@dataclass(frozen=True)
class Table:
    """One pass: what the model reads, what is scored, and the pass's share in the loss."""

    name: str
    inputs_BCL: Tensor
    labels_BCL: Tensor
    scored: tuple[int, ...]  # chunks with at least one label
    weight: float = 1.0


@dataclass(frozen=True)
class Sums:
    """Sums over the scored tokens of each window, detached: nats, tokens predicted right, tokens."""

    loss_R: Tensor
    correct_R: Tensor
    count_R: Tensor


class Objective:
    """How a window of tokens becomes tables. `shift` 1: the logit at t scores token t+1 of its chunk; 0: token t."""

    name: ClassVar[str]
    shift: ClassVar[int] = 1

    def __init__(self, *, blank: int, delimiter: int) -> None:
        self.blank = blank
        self.delimiter = delimiter

    def window(self, chunks: int, length: int) -> int:
        """Tokens of data per window. Raises ValueError for a layout the objective does not have."""
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

    def shared_chunks(self, chunks: int) -> int:
        """Leading chunks that all tables have in common: their memories are made once."""
        return 0

    def losses(
        self,
        model: LanguageModel,
        tokens_BT: Tensor,
        *,
        chunks: int,
        length: int,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Sums]]:
        """Mean nats per scored token (the tables' means, weighted), and the sums of each table by its name."""
        tables = self.tables(tokens_BT, chunks, length, progress, generator)
        shared = self.shared_chunks(chunks)
        known = model.embed_chunks(tables[0].inputs_BCL[:, :shared]) if shared else None
        sums: dict[str, Sums] = {}
        means = []
        for table in tables:
            hidden_BnLD = model.hidden(table.inputs_BCL, table.scored, known)
            mean, sums[table.name] = score(model.head, hidden_BnLD, table, self.shift)
            means.append(table.weight * mean)
        return torch.stack(means).sum() / sum(table.weight for table in tables), sums

    def _require_window(self, tokens_BT: Tensor, chunks: int, length: int) -> None:
        needed = self.window(chunks, length)
        if tokens_BT.shape[1] != needed:
            raise ValueError(
                f"{self.name} with {chunks} chunks of {length} tokens takes windows of {needed} tokens, not"
                f" {tokens_BT.shape[1]}."
            )


def require_next_token_layout(chunks: int, length: int) -> None:
    """Raise ValueError unless there is a chunk, and a token to predict in it."""
    if chunks < 1 or length < 2:
        raise ValueError(f"{chunks} chunks of {length} tokens: take at least 1 chunk of at least 2 tokens.")


def next_token_labels(tokens_BCL: Tensor) -> Tensor:
    """Labels of next-token prediction: every token but the first of each chunk."""
    labels = tokens_BCL.clone()
    labels[:, :, 0] = IGNORE
    return labels


def score(head: nn.Module, hidden_BnLD: Tensor, table: Table, shift: int) -> tuple[Tensor, Sums]:
    """Mean loss of a table (with a graph) and its sums per window."""
    end = hidden_BnLD.shape[2] - shift
    labels = table.labels_BCL[:, list(table.scored), shift:]
    loss, correct = token_losses(head, hidden_BnLD[:, :, :end].flatten(0, 2), labels.flatten())
    count_R = (labels != IGNORE).flatten(1).sum(1)
    loss_R = loss.view(labels.shape).flatten(1).sum(1)
    correct_R = correct.view(labels.shape).flatten(1).sum(1)
    return loss_R.sum() / count_R.sum(), Sums(loss_R.detach(), correct_R, count_R)


def token_losses(head: nn.Module, hidden_PD: Tensor, labels_P: Tensor) -> tuple[Tensor, Tensor]:
    """Nats (0 where ignored) and whether the likeliest token is right, each (P,).

    Beyond LOGITS_AT_ONCE the head runs on pieces whose logits are recomputed for the gradient, so that P x V logits
    never stand in memory whole.
    """
    vocab = head.out_features
    assert isinstance(vocab, int)
    piece = max(1, LOGITS_AT_ONCE // vocab)
    if labels_P.shape[0] <= piece:
        return _piece_losses(head, hidden_PD, labels_P)
    pieces: Sequence[tuple[Tensor, Tensor]] = [
        checkpoint(_piece_losses, head, hidden, labels, use_reentrant=False)
        for hidden, labels in zip(hidden_PD.split(piece), labels_P.split(piece), strict=True)
    ]
    losses, correct = zip(*pieces, strict=True)
    return torch.cat(losses), torch.cat(correct)


def _piece_losses(head: nn.Module, hidden_PD: Tensor, labels_P: Tensor) -> tuple[Tensor, Tensor]:
    logits_PV = head(hidden_PD)
    loss_P = F.cross_entropy(logits_PV.float(), labels_P, ignore_index=IGNORE, reduction="none")
    return loss_P, logits_PV.detach().argmax(-1) == labels_P

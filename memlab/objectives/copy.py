"""Copying with the tokens visible."""

import torch
from torch import Tensor

from memlab.errors import UserError
from memlab.objectives.base import Objective, next_token_labels
from memlab.objectives.table import IGNORE, Table

DELIMITERS = 3  # leading tokens of the second half that the delimiter overwrites


class Copy(Objective):
    """The second half repeats the first and is scored. C = 2, L = 4 (x data, # delimiter, . no loss):

    inputs x0 x1 x2 x3 | x0 x1 x2 x3     labels  .  .  .  . |  . x1 x2 x3
    inputs x0 x1 x2 x3 |  #  #  # x3     labels  .  .  .  . |  .  .  . x3   with delimiter_tokens

    hand_over f > 0: in training each token of the second half is hidden by the blank with a chance that falls linearly
    from 1 to 0 over the first f of the stage; labels stay. Raises UserError for f outside [0, 1].
    """

    name = "copy"
    retained = ("copy",)

    def __init__(self, *, blank: int, delimiter: int, delimiter_tokens: bool = False, hand_over: float = 0.0) -> None:
        super().__init__(blank=blank, delimiter=delimiter)
        if not 0 <= hand_over <= 1:
            raise UserError(f"hand_over={hand_over}: choose a share of the stage between 0 and 1.")
        self.delimiter_tokens = delimiter_tokens
        self.hand_over = hand_over

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
        second = tokens_BT
        content: tuple[int | None, ...] = tuple(range(chunks // 2))
        hidden_share = max(0.0, 1 - progress / self.hand_over) if self.hand_over else 0.0
        if hidden_share:
            device = tokens_BT.device if generator is None else generator.device
            chance = torch.rand(tokens_BT.shape, generator=generator, device=device).to(tokens_BT.device)
            second = second.masked_fill(chance < hidden_share, self.blank)
            content = (None,) * (chunks // 2)
        delimiter = self.delimiter if self.delimiter_tokens else None
        return [copy_table(self.name, tokens_BT, second, chunks, length, content, delimiter=delimiter)]


def copy_window(chunks: int, length: int) -> int:
    """Tokens of data per window of copying: half a sequence. Raises UserError unless C is even and L >= 4."""
    if chunks < 2 or chunks % 2:
        raise UserError(f"Copying repeats the first half of the chunks: {chunks} chunks must be an even number.")
    if length < DELIMITERS + 1:
        raise UserError(f"Copying needs chunks of at least {DELIMITERS + 1} tokens, not {length}.")
    return chunks * length // 2


def copy_table(
    name: str,
    first_BT: Tensor,
    second_BT: Tensor,
    chunks: int,
    length: int,
    content: tuple[int | str | None, ...],
    *,
    delimiter: int | None = None,
    weight: float = 1.0,
) -> Table:
    """Read `first` then `second`, score the first half's tokens at the second half's places.

    content: what stands in the chunks of `second`, as `Table` has it.
    """
    half = first_BT.shape[1]
    inputs = torch.cat((first_BT, second_BT), dim=1)
    labels = next_token_labels(first_BT.repeat(1, 2).view(-1, chunks, length)).flatten(1)
    labels[:, :half] = IGNORE
    if delimiter is not None:
        inputs[:, half : half + DELIMITERS] = delimiter
        labels[:, half : half + DELIMITERS] = IGNORE
        content = (None, *content[1:])
    shape = (-1, chunks, length)
    scored = range(chunks // 2, chunks)
    whole = (*range(chunks // 2), *content)
    return Table(name, inputs.view(shape), labels.view(shape), scored, weight, whole)

"""Copying with the tokens visible."""

import torch
from torch import Tensor

from memlab.errors import UserError
from memlab.objectives.base import Objective, next_token_labels
from memlab.objectives.layout import EVALUATION, Draw, Layout
from memlab.objectives.table import IGNORE, Table, window_chunks

DELIMITERS = 3  # leading tokens of the second half that the delimiter overwrites


class Copy(Objective):
    """The second half repeats the first and is scored. C = 2, L = 4 (x data, # delimiter, . no loss):

    inputs x0 x1 x2 x3 | x0 x1 x2 x3     labels  .  .  .  . |  . x1 x2 x3
    inputs x0 x1 x2 x3 |  #  #  # x3     labels  .  .  .  . |  .  .  . x3   with delimiter_tokens

    hand_over f > 0: in training, each token of the second half is hidden by the blank with a probability that falls
    linearly from 1 to 0 over the first f of the stage; labels stay. Raises UserError for f outside [0, 1].
    """

    name = "copy"
    retained = ("copy",)

    def __init__(self, *, blank: int, delimiter: int, delimiter_tokens: bool = False, hand_over: float = 0.0) -> None:
        super().__init__(blank=blank, delimiter=delimiter)
        if not 0 <= hand_over <= 1:
            raise UserError(f"hand_over={hand_over}: choose a share of the stage between 0 and 1.")
        self.delimiter_tokens = delimiter_tokens
        self.hand_over = hand_over

    def window(self, layout: Layout) -> int:
        return copy_window(layout)

    def tables(self, tokens_BT: Tensor, layout: Layout, draw: Draw | None = None) -> list[Table]:
        self._require_window(tokens_BT, layout)
        draw = draw or EVALUATION
        second, content = tokens_BT, window_chunks(layout.chunks // 2)
        hidden_share = max(0.0, 1 - draw.progress / self.hand_over) if self.hand_over else 0.0
        if hidden_share:
            device = tokens_BT.device if draw.generator is None else draw.generator.device
            chance = torch.rand(tokens_BT.shape, generator=draw.generator, device=device).to(tokens_BT.device)
            second = second.masked_fill(chance < hidden_share, self.blank)
            content = tuple(f"{name} in part" for name in content)
        delimiter = self.delimiter if self.delimiter_tokens else None
        return [copy_table(self.name, tokens_BT, second, layout, content, padding=self.blank, delimiter=delimiter)]


def copy_window(layout: Layout) -> int:
    """Return the tokens of data per window of copying: half a sequence. Raises UserError unless C is even, L >= 4."""
    if layout.chunks < 2 or layout.chunks % 2:
        raise UserError(f"Copying repeats the first half of the chunks: {layout.chunks} chunks must be an even number.")
    if layout.length < DELIMITERS + 1:
        raise UserError(f"Copying needs chunks of at least {DELIMITERS + 1} tokens, not {layout.length}.")
    return layout.chunks * layout.length // 2


def copy_table(
    name: str,
    first_BT: Tensor,
    second_BT: Tensor,
    layout: Layout,
    content: tuple[str, ...],
    *,
    padding: int,
    delimiter: int | None = None,
) -> Table:
    """Read `first` then `second`, and score the first half's tokens at the second half's places.

    content: names of the chunks of `second`, as in `Table`. padding: the token that is never scored.
    """
    half = first_BT.shape[1]
    shape = (-1, layout.chunks, layout.length)
    inputs = torch.cat((first_BT, second_BT), dim=1)
    labels = next_token_labels(first_BT.repeat(1, 2).view(shape), padding).flatten(1)
    labels[:, :half] = IGNORE
    if delimiter is not None:
        inputs[:, half : half + DELIMITERS] = delimiter
        labels[:, half : half + DELIMITERS] = IGNORE
        content = ("#", *content[1:])
    scored = range(layout.chunks // 2, layout.chunks)
    whole = (*window_chunks(layout.chunks // 2), *content)
    return Table(name, inputs.view(shape), labels.view(shape), scored, content=whole)

"""Text token by token (shapes: see context.py; V vocabulary)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memlab.data import TextCodec
from memlab.errors import UserError
from memlab.models import LanguageModel
from memlab.use.context import Context
from memlab.use.memories import Memories

INCOMPLETE = "\ufffd"  # what a letter looks like whose last bytes are in tokens to come


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen.

    temperature: 0 takes the likeliest; otherwise the logits are divided by it and a token is drawn.
    top_p: draw from the likeliest tokens that have this share of the probability together.
    seed: row i draws with a generator of its own, seeded by seed + i, so that a batch draws what its rows alone draw.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise UserError(f"temperature={self.temperature}: choose 0 (the likeliest token) or more")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p={self.top_p}: choose a share above 0, up to 1 (all tokens)")


class Chooser:
    """Chooses the next tokens of a batch's rows. first: the number of the first row, for its seed."""

    def __init__(self, sampling: Sampling, rows: Sequence[int]) -> None:
        self.sampling = sampling
        self._generators = [torch.Generator().manual_seed(sampling.seed + row) for row in rows]

    def __call__(self, logits_RV: Tensor, rows: Sequence[int]) -> list[int]:
        """Return the tokens of some rows of the batch. logits_RV: theirs."""
        if self.sampling.temperature == 0:
            chosen: list[int] = logits_RV.argmax(-1).tolist()
            return chosen
        share_RV = torch.softmax(logits_RV.double().cpu() / self.sampling.temperature, dim=-1)
        sorted_RV, order_RV = share_RV.sort(dim=-1, descending=True, stable=True)
        likelier_RV = sorted_RV.cumsum(-1) - sorted_RV  # the share of all tokens that are likelier
        sorted_RV[likelier_RV >= self.sampling.top_p] = 0
        drawn = [
            int(torch.multinomial(share_V, 1, generator=self._generators[row]))
            for share_V, row in zip(sorted_RV, rows, strict=True)
        ]
        return [int(order_V[place]) for order_V, place in zip(order_RV, drawn, strict=True)]


@torch.no_grad()
def continuations(
    context: Context, prompts: Sequence[Sequence[int]], count: int, choose: Chooser
) -> Iterator[dict[int, int]]:
    """Read a prompt in each row of the context and yield `count` new tokens of each, {row: token} a time.

    All rows read one token at a time together, a row that is still in its prompt the prompt's. The last token of the
    longest row is yielded and not read. Raises UserError for a count below 1.
    """
    if count < 1:
        raise UserError(f"max_new_tokens={count}: choose a whole number of at least 1")
    device = context.model.head.weight.device
    lengths = [len(prompt) for prompt in prompts]
    first, last = min(lengths), max(lengths) + count
    read = [list(prompt[:first]) for prompt in prompts]
    for place in range(first, last):
        context.read(torch.tensor(read, device=device))
        rows = [row for row, length in enumerate(lengths) if length <= place < length + count]
        new: dict[int, int] = {}
        if rows:
            new = dict(zip(rows, choose(context.model.head(context.next_hidden()[rows]), rows), strict=True))
            yield new
        # A row that has ended reads something, so that the others can go on.
        read = [[new.get(row, prompt[min(place, len(prompt) - 1)])] for row, prompt in enumerate(prompts)]


def open_context(
    model: LanguageModel, prompts: Sequence[Sequence[int]], given: Sequence[Memories | None]
) -> tuple[Context, list[list[int]]]:
    """Return a context that has read the chunks that are whole in all prompts, and what is left of the prompts.

    given: the memories in front of each prompt, of equally many chunks.
    """
    length, device = model.length, model.head.weight.device
    there = [of for of in given if of is not None and len(of)]
    known_BkL = torch.stack([of.tokens for of in there]) if there else torch.empty(len(prompts), 0, length).long()
    memories_BkMD = torch.stack([of.vectors for of in there]).to(device) if there else None
    whole = (min(map(len, prompts)) - 1) // length
    front_BcL = (
        torch.tensor([list(prompt[: whole * length]) for prompt in prompts]).long().view(len(prompts), whole, length)
    )
    with torch.no_grad():
        context = Context(model, torch.cat((known_BkL, front_BcL), dim=1).to(device), memories_BkMD)
    return context, [list(prompt[whole * length :]) for prompt in prompts]


def generate_rows(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    given: Sequence[Memories | None],
    count: int,
    sampling: Sampling,
    each: Callable[[int], object] | None = None,
) -> list[list[int]]:
    """Return `count` new tokens behind each prompt. given: the memories in front of each, of any number of chunks.

    each: called with every new token.
    """
    chunks = [0 if of is None else len(of) for of in given]
    written: list[list[int]] = [[] for _ in prompts]
    for of_group in sorted({*chunks}):  # a decoder's positions depend on how many memories there are
        rows = [row for row, of_row in enumerate(chunks) if of_row == of_group]
        context, left = open_context(model, [prompts[row] for row in rows], [given[row] for row in rows])
        for new in continuations(context, left, count, Chooser(sampling, rows)):
            for row, token in new.items():
                written[rows[row]].append(token)
                if each is not None:
                    each(token)
    return written


class Letters:
    """Tokens to pieces of text that never end inside a letter."""

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec
        self._ids: list[int] = []
        self._shown = 0

    def add(self, token: int) -> str:
        """Return the text that a token completes; empty while a letter is incomplete."""
        self._ids.append(token)
        text = self._codec.decode(self._ids)
        return self._show(text[:-1] if text.endswith(INCOMPLETE) else text)

    def rest(self) -> str:
        """Return what is left at the end."""
        return self._show(self._codec.decode(self._ids))

    def _show(self, text: str) -> str:
        piece, self._shown = text[self._shown :], len(text)
        return piece

"""A conversation in the terminal: what is typed and what is written form one growing text."""

import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from memlab.use.generate import Chooser, Letters, Sampling, continuations, open_context
from memlab.use.memories import Memories
from memlab.use.text_model import TextModel

PROMPT = "> "


def chat(
    model: TextModel,
    lines: Iterator[str],
    write: Callable[[str], object],
    *,
    memories: Memories | None = None,
    max_new_tokens: int = 64,
    sampling: Sampling | None = None,
) -> None:
    """Read each line (with its line end) behind all that was said before, and write what the model says to it.

    The context grows chunk by chunk: old chunks are memories, or fall out. Raises UserError as `generate` does.
    """
    (given,) = model.require_context(memories, 1)
    choose = Chooser(sampling or Sampling(), [0])
    context = None
    unread: list[int] = []  # the last token that the model wrote
    for line in lines:
        ids = [*unread, *model.token_ids(line)]
        if context is None:
            context, (ids,) = open_context(model.model, [ids], [given])
        letters = Letters(model.codec)
        for new in continuations(context, [ids], max_new_tokens, choose):
            unread = [new[0]]
            write(letters.add(new[0]))
        write(letters.rest() + "\n")


def typed(stream: TextIO, ask: Callable[[str], object]) -> Iterator[str]:
    """Yield the lines of a terminal or a file that are not empty, up to its end; ask for each on a terminal."""
    while True:
        if stream.isatty():
            ask(PROMPT)
        line = stream.readline()
        if not line:
            return
        if line.strip():
            yield line if line.endswith("\n") else line + "\n"


def write_now(text: str) -> None:
    """Write to standard output without waiting for the end of the line."""
    sys.stdout.write(text)
    sys.stdout.flush()

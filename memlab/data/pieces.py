"""A text beside what came back of it, in pieces whose tokens are all right, or all wrong."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

RIGHT, WRONG, GIVEN = "right", "wrong", "given"


@dataclass(frozen=True)
class Piece:
    """Tokens that follow each other and have one mark: what stood there, and what came back.

    mark: "right", "wrong", or "given" for tokens that the model was shown (a chunk's first, when it copies).
    """

    text: str
    returned: str
    mark: str
    tokens: int


def pieces(
    decode: Callable[[list[int]], str],
    tokens: Sequence[int],
    returned: Sequence[int],
    marks: Sequence[str] | None = None,
) -> Iterator[Piece]:
    """Yield the pieces of `tokens` beside as many `returned`. marks: of each token; None: as they compare."""
    if marks is None:
        marks = [RIGHT if back == token else WRONG for token, back in zip(tokens, returned, strict=True)]
    first = 0
    for mark, group in groupby(marks):
        part = slice(first, first := first + len(list(group)))
        yield Piece(decode(list(tokens[part])), decode(list(returned[part])), mark, part.stop - part.start)

"""Helpers of every model.

Shape legend of this package: R rows, B batch, C chunks, c the first chunks of a window, L tokens per chunk,
T positions, t some of them, D width, N layers, H heads, K taps, V vocabulary, M memories per chunk, S = C*M memory
slots, n scored chunks.
"""

from torch import Tensor, nn

from memlab.errors import UserError


def require_positive(**values: int) -> None:
    """Raise UserError naming the first value that is not a positive whole number."""
    for name, value in values.items():
        if value < 1:
            raise UserError(f"{name}={value}: choose a whole number of at least 1.")


def chunks_at(inputs_BCL: Tensor, chosen: range) -> Tensor:
    """Return the chosen chunks as a view: an index list would be copied to the device at every step."""
    return inputs_BCL[:, chosen.start : chosen.stop]


def match_widths(given: int, wanted: int) -> nn.Module:
    """Return one biased linear from a width to another, and nothing where they are equal."""
    return nn.Identity() if given == wanted else nn.Linear(given, wanted)


def make_embedding(vocab: int, width: int, std: float) -> nn.Embedding:
    """Return a token embedding (V, D) drawn from N(0, std^2)."""
    embedding = nn.Embedding(vocab, width)
    nn.init.normal_(embedding.weight, std=std)
    return embedding

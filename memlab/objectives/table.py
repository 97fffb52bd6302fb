"""What an objective makes of a batch: a table of what is read and what is scored (shapes: see base.py)."""

from dataclasses import dataclass, replace

from torch import Tensor

IGNORE = -100  # label of a position without loss
BLANKS = "_"  # content of a chunk of blanks only


@dataclass(frozen=True)
class Table:
    """One pass: what the model reads, what is scored, and the pass's share in the loss.

    Labels stand at the token they score. scored: chunks with at least one label.
    content[c] names what the inputs of chunk c hold. In all tables of a batch, chunks of one name hold the same tokens,
    and are embedded once. x0, x1 ... are the chunks of the window itself, BLANKS is a chunk of blanks in every window,
    any other name is the objective's own. With C = 4:

        copying                     x0 x1 | x0 x1
        copying with a delimiter    x0 x1 | #  x1
        blank copying               x0 x1 | _  _

    An empty content says nothing: each chunk is embedded by itself.
    """

    name: str
    inputs_BCL: Tensor
    labels_BCL: Tensor
    scored: range
    weight: float = 1.0
    content: tuple[str, ...] = ()

    def rows(self, part: slice) -> "Table":
        """Return the table of some of the windows."""
        return replace(self, inputs_BCL=self.inputs_BCL[part], labels_BCL=self.labels_BCL[part])


def window_chunks(count: int) -> tuple[str, ...]:
    """Return the names of the first chunks of a window: x0, x1 ..."""
    return tuple(f"x{chunk}" for chunk in range(count))

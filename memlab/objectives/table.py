"""What an objective makes of a batch: a table of what is read and what is scored (shapes: see base.py)."""

from dataclasses import dataclass, replace

from torch import Tensor

IGNORE = -100  # label of a position without loss
BLANKS = "blanks"  # content of a chunk of blanks only, the same in every window


@dataclass(frozen=True)
class Table:
    """One pass: what the model reads, what is scored, and the pass's share in the loss.

    Labels stand at the token they score. content: by chunk, the number of the window's chunk whose tokens it repeats,
    BLANKS, or None for tokens of its own; chunks of equal content are embedded once. Empty: each has its own.
    """

    name: str
    inputs_BCL: Tensor
    labels_BCL: Tensor
    scored: range  # chunks with at least one label
    weight: float = 1.0
    content: tuple[int | str | None, ...] = ()

    def rows(self, part: slice) -> "Table":
        """The same of some of the windows."""
        return replace(self, inputs_BCL=self.inputs_BCL[part], labels_BCL=self.labels_BCL[part])

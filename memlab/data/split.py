"""Documents on disk, and their split into training and held out. Memory holds 75 bytes per document, not its text."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memlab.data.source import Document
from memlab.errors import UserError

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val")
BATCH = 64  # documents at a time


@dataclass(frozen=True)
class Texts:
    """Some of the documents in a file of texts, one behind another as UTF-8, in an order of their own.

    ends: where each document of the file ends, in bytes (N,); rows: numbers of the documents (n,).
    """

    file: Path
    ends: "np.ndarray"
    rows: "np.ndarray"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def bytes(self) -> int:
        return int(_sizes(self.ends)[self.rows].sum())

    def batches(self) -> Iterator[list[str]]:
        """Yield the texts, up to `BATCH` at a time."""
        import numpy as np

        raw = np.memmap(self.file, np.uint8, "r")
        for first in range(0, len(self.rows), BATCH):
            rows = self.rows[first : first + BATCH].tolist()
            yield [bytes(raw[self.ends[row - 1] if row else 0 : self.ends[row]]).decode() for row in rows]


@dataclass(frozen=True)
class Split:
    """The documents of each split, and the numbers of those that are in none."""

    texts: dict[str, Texts]
    equal: int  # to another document
    beyond: int  # behind the limit of bytes
    empty: int

    def sentences(self, max_bytes: int | None) -> list[str]:
        """Return what was left out, a sentence for each reason."""
        reasons = {"equal to another": self.equal, f"beyond data.max_bytes={max_bytes}": self.beyond}
        reasons["without text"] = self.empty
        return [f"Left out, {reason}: {count:,} documents." for reason, count in reasons.items() if count]


def split_documents(documents: Iterable[Document], file: Path, val: float, max_bytes: int | None) -> Split:
    """Write the documents' texts to `file` and split them.

    Documents are put in the order of the hash of their origin (or of themselves, without one) up to `max_bytes`; the
    first share `val` of them is held out. Equal documents count once: one must not stand in both splits. Raises
    UserError unless each split has a document with text.
    """
    import numpy as np

    ends, digests, empty = array("Q"), bytearray(), 0
    with file.open("wb") as out:
        for text, origin in documents:
            raw = text.encode(errors="replace")
            named = raw if origin is None else origin.encode(errors="replace")
            if not named:
                empty += 1
                continue
            digests += hashlib.sha256(named).digest()[:16]
            out.write(raw)
            ends.append(out.tell())
    ends_N = np.frombuffer(ends, np.uint64) if ends else np.zeros(0, np.uint64)
    hashes_N2 = np.frombuffer(digests, ">u8").reshape(-1, 2)
    order = np.lexsort((hashes_N2[:, 1], hashes_N2[:, 0]))  # stable: of equal documents the first comes first
    hashes_N2 = hashes_N2[order]
    first_of_equals = np.ones(len(order), bool)
    first_of_equals[1:] = (hashes_N2[1:] != hashes_N2[:-1]).any(1)
    order = order[first_of_equals]
    sizes = _sizes(ends_N)[order]
    taken = len(order) if max_bytes is None else int(np.searchsorted(np.cumsum(sizes), max_bytes)) + 1
    chosen, sizes = order[:taken], sizes[:taken]
    held_out = min(max(1, round(val * len(chosen))), max(0, len(chosen) - 1))
    rows = {"val": chosen[:held_out][sizes[:held_out] > 0], "train": chosen[held_out:][sizes[held_out:] > 0]}
    if not all(map(len, rows.values())):
        raise UserError(
            f"{sum(map(len, rows.values()))} document(s) with text: training and validation need one each. Take more"
            " text (data.max_bytes), cut it into several files, or write .jsonl with a document per line"
        )
    return Split(
        {split: Texts(file, ends_N, rows[split]) for split in SPLITS},
        equal=len(first_of_equals) - len(order),
        beyond=len(order) - len(chosen),
        empty=empty + len(chosen) - sum(map(len, rows.values())),
    )


def _sizes(ends: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.diff(ends.astype(np.int64), prepend=0)

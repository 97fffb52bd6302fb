"""Memories to take away: what `encode` returns, and its file.

A file is safetensors: "vectors" (N, M, D), "tokens" (N, L), "counts" (N) and "chunks" (texts); the rest is JSON in the
metadata under "memlab".

Shapes: N chunks of all texts, M memories per chunk, D width, L tokens per chunk.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from memlab.errors import UserError
from memlab.storage.files import replacing


@dataclass(frozen=True)
class Hit:
    """A chunk that was found: its number, the cosine between its memories and the query's, and its text."""

    chunk: int
    cosine: float
    text: str


@dataclass(frozen=True, eq=False)
class Memories:
    """The memories of one text or several, chunk by chunk, on the CPU. `len` counts chunks, a slice takes some.

    vectors: (N, M, D) float32, as the model's decoder reads them.
    tokens: (N, L) ids of the chunks; a text's last chunk is filled with the blank token.
    counts: real tokens of each chunk: L, or fewer in a text's last one.
    texts: what each chunk says. A letter of several bytes that two chunks share is U+FFFD in both.
    chunks: how many chunks each text has, in the order of the texts.
    floats, bits: what must be stored of a chunk's memories: numbers, and bits of all of them. Compressed or quantised
        memories take less than their vectors show.
    made_by: fingerprint of the model that made them, and can read them.
    """

    vectors: Tensor
    tokens: Tensor
    counts: tuple[int, ...]
    texts: tuple[str, ...]
    chunks: tuple[int, ...]
    floats: int
    bits: int
    made_by: str

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, chosen: slice) -> "Memories":
        """Return the memories of some chunks that follow each other; a text without a chunk among them is left out."""
        if not isinstance(chosen, slice):
            raise UserError(f"memories[{chosen}]: take a slice of chunks, such as memories[-3:]")
        start, stop, step = chosen.indices(len(self))
        if step != 1:
            raise UserError("memories can be sliced in order alone: leave the step out")
        stop = max(start, stop)
        bounds = pairwise(accumulate(self.chunks, initial=0))
        shared = (min(stop, last) - max(start, first) for first, last in bounds)
        return self._part(start, stop, tuple(count for count in shared if count > 0))

    def by_text(self) -> list["Memories"]:
        """Return the memories of each text by itself."""
        bounds = pairwise(accumulate(self.chunks, initial=0))
        return [self._part(first, last, (last - first,)) for first, last in bounds]

    def nearest(self, queries: "Memories", count: int = 1) -> list[list[Hit]]:
        """Return the `count` chunks most alike to each chunk of `queries`, the most alike first.

        The M memories of a chunk are compared as one row of M * D numbers, by their cosine. Raises UserError for
        memories of another model, and where there are fewer chunks than asked for.
        """
        if queries.made_by != self.made_by:
            raise UserError(
                f"the queries were made by {queries.made_by}, these memories by {self.made_by}: use one model"
            )
        if not 1 <= count <= len(self):
            raise UserError(f"count={count}: choose 1 to {len(self)}, as many chunks as there are")
        rows_ND, rows_QD = (F.normalize(of.vectors.flatten(1).double(), dim=1) for of in (self, queries))
        best = (rows_QD @ rows_ND.T).topk(count, dim=1)
        return [
            [Hit(chunk, cosine, self.texts[chunk]) for chunk, cosine in zip(chunks, cosines, strict=True)]
            for chunks, cosines in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _part(self, start: int, stop: int, chunks: tuple[int, ...]) -> "Memories":
        return replace(
            self,
            vectors=self.vectors[start:stop],
            tokens=self.tokens[start:stop],
            counts=self.counts[start:stop],
            texts=self.texts[start:stop],
            chunks=chunks,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .safetensors file, whole or not at all. Raises OSError."""
        tensors = {
            "vectors": self.vectors.contiguous(),
            "tokens": self.tokens.contiguous(),
            "counts": torch.tensor(self.counts, dtype=torch.int64),
            "chunks": torch.tensor(self.chunks, dtype=torch.int64),
        }
        about = {"texts": self.texts, "floats": self.floats, "bits": self.bits, "made_by": self.made_by}
        with replacing(Path(path)) as temporary:
            save_file(tensors, temporary, metadata={"memlab": json.dumps(about)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Memories":
        """Read a file that `save` wrote, bit for bit. Raises UserError for another file or a damaged one."""
        try:
            with safe_open(str(path), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in ("vectors", "tokens", "counts", "chunks")}
                about: dict[str, Any] = json.loads(file.metadata()["memlab"])
            memories = cls(
                vectors=tensors["vectors"],
                tokens=tensors["tokens"],
                counts=tuple(tensors["counts"].tolist()),
                texts=tuple(about["texts"]),
                chunks=tuple(tensors["chunks"].tolist()),
                **{name: about[name] for name in ("floats", "bits", "made_by")},
            )
            whole = memories._is_whole()
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError):
            whole = False
        if not whole:
            raise UserError(f"{os.fspath(path)} is no file of memories: give one that Memories.save wrote")
        return memories

    def _is_whole(self) -> bool:
        """Whether the parts have the same number of chunks, and the right shapes and kinds."""
        length = self.tokens.shape[1] if self.tokens.ndim == 2 else 0
        return (
            self.vectors.ndim == 3
            and self.vectors.is_floating_point()
            and self.tokens.dtype == torch.int64
            and len({len(self.vectors), len(self.tokens), len(self.counts), len(self.texts), sum(self.chunks)}) == 1
            and all(count >= 0 for count in self.chunks)
            and all(1 <= count <= length for count in self.counts)
            and all(isinstance(text, str) for text in self.texts)
            and isinstance(self.floats, int)
            and isinstance(self.bits, int)
        )

    def __iter__(self) -> Iterator["Memories"]:
        """Yield the memories of each chunk."""
        return (self[number : number + 1] for number in range(len(self)))

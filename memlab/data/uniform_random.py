"""Uniformly random tokens in place of a text's own: what a model makes of input without any structure."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from memlab.data.source import Document, Source
from memlab.data.text_files import digest_of

if TYPE_CHECKING:
    import numpy


class UniformRandom(Source):
    """The documents of `text`, with every token replaced by one that is drawn from all tokens with equal chances.

    The tokenizer is trained on the text itself. Documents keep their lengths and their split. Special tokens are never
    drawn. The draws depend on `seed` and on the document.
    """

    def __init__(self, *, text: Source, name: str, seed: int = 0) -> None:
        super().__init__(name=name, val=text.val, max_bytes=text.max_bytes, windows=text.windows)
        self.text = text
        self.seed = seed

    def content_hash(self) -> str:
        return digest_of(["uniform", json.dumps(self.seed), self.text.content_hash()])

    def documents(self, cache: Path) -> Iterator[Document]:
        return self.text.documents(cache)

    def report(self) -> list[str]:
        return [*self.text.report(), "Every token is replaced by a random one."]

    def replaced(self, ids: "numpy.ndarray", drawn_from: "numpy.ndarray") -> "numpy.ndarray":
        import numpy

        draws = numpy.random.default_rng([self.seed, zlib.crc32(ids.tobytes())])
        return draws.choice(drawn_from, len(ids)).astype(ids.dtype)

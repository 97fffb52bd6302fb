"""An encoder alone, for objectives that score memories themselves (shapes: see base.py)."""

from collections.abc import Callable

from torch import Tensor

from memlab.models.language_model import LanguageModel
from memlab.models.ports import Encoder


class ChunkEncoder(LanguageModel):
    """Chunks to memories; it has no decoder. encoder: factory (vocab=, length=) -> Encoder."""

    can = frozenset({"retrieve"})
    encoder: Encoder

    def __init__(self, *, encoder: Callable[..., Encoder], vocab: int, length: int) -> None:
        super().__init__(vocab=vocab, chunks=1, length=length)
        self.encoder = encoder(vocab=vocab, length=length)
        self.memories = self.encoder.memories
        self.memory_floats = self.encoder.memory_floats

    def make_memories(self, chunks_RL: Tensor) -> Tensor:
        return self.encoder(chunks_RL)

"""An encoder alone, for objectives that score memories themselves (shapes: see base.py)."""

from torch import Tensor

from memlab.models.base import LanguageModel
from memlab.models.encoder import Encoder


class ChunkEncoder(LanguageModel):
    """Chunks to memories; it has no head and regenerates nothing."""

    encoder: Encoder
    regenerates = False

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def embed(self, chunks_RL: Tensor) -> Tensor:
        memories: Tensor = self.encoder(chunks_RL)
        return memories

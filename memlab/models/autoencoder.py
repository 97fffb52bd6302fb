"""Chunk to memories to the same chunk (shapes: see base.py)."""

from collections.abc import Callable

from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.base import chunks_at, match_widths
from memlab.models.language_model import LanguageModel
from memlab.models.ports import Decoder, Encoder


class Autoencoder(LanguageModel):
    """Encoder -> memories (R, M, D) -> bridge -> decoder over L positions. Chunks are independent.

    An encoder of another width gets one biased linear to the decoder's.

    The decoder never sees tokens, and its logits are scored at the same position (no shift).
    encoder: factory (vocab=, length=) -> Encoder. decoder: factory (vocab=, length=, reads_tokens=False) -> Decoder.
    bridge: factory (width=, length=, memories=) -> Module from (R, M, D) to (R, L, D).
    Raises UserError for chunks of another length.
    """

    can = frozenset({"regenerate"})
    encoder: Encoder
    decoder: Decoder

    def __init__(
        self,
        *,
        encoder: Callable[..., Encoder],
        decoder: Callable[..., Decoder],
        bridge: Callable[..., nn.Module],
        vocab: int,
        length: int,
    ) -> None:
        super().__init__(vocab=vocab, chunks=1, length=length)
        self.encoder = encoder(vocab=vocab, length=length)
        self.decoder = decoder(vocab=vocab, length=length, reads_tokens=False)
        self.projection = match_widths(self.encoder.width, self.decoder.width)
        self.memories = self.encoder.memories
        self.memory_floats = self.encoder.memory_floats
        self.bridge = bridge(width=self.decoder.width, length=length, memories=self.memories)

    def reads(self, scored: range) -> range:
        return scored

    def make_memories(self, chunks_RL: Tensor) -> Tensor:
        """Return memories (R, M, D) at the decoder's width."""
        return self.projection(self.encoder(chunks_RL))

    def decode(self, memories_RMD: Tensor) -> Tensor:
        """Return what the head reads at the L positions of a chunk with these memories, (R, L, D)."""
        return self.decoder(self.bridge(memories_RMD))

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        length = inputs_BCL.shape[2]
        if length != self.length:
            raise UserError(f"A chunk has {length} tokens; the model was built for chunks of {self.length}.")
        if memories_BcMD is None:
            chunks_BnL = chunks_at(inputs_BCL, scored)
            memories_BcMD = self.make_memories(chunks_BnL.flatten(0, 1)).unflatten(0, chunks_BnL.shape[:2])
        return self.decode(memories_BcMD.flatten(0, 1)).unflatten(0, memories_BcMD.shape[:2])

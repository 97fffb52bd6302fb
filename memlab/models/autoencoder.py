"""Chunk to memories to the same chunk (shapes: see base.py)."""

from torch import Tensor

from memlab.errors import UserError
from memlab.models.base import LanguageModel, Stack, chunks_at, require_positive
from memlab.models.bridge import RepeatBridge, UnrollBridge
from memlab.models.encoder import Encoder


class Autoencoder(LanguageModel):
    """Encoder -> memories (R, M, D) -> bridge -> decoder stack over L positions. Chunks are independent.

    The decoder never sees tokens, and its logits are scored at the same position (no shift).
    Raises UserError when the widths or the number of memories of the parts differ.
    """

    encoder: Encoder

    def __init__(self, encoder: Encoder, stack: Stack, bridge: RepeatBridge | UnrollBridge, vocab: int) -> None:
        super().__init__()
        require_positive(vocab=vocab)
        if not encoder.width == bridge.width == stack.width:
            raise UserError(
                f"An autoencoder has one width: encoder {encoder.width}, bridge {bridge.width}, decoder {stack.width}."
            )
        if encoder.memories != bridge.memories:
            raise UserError(f"The encoder makes {encoder.memories} memories, the bridge reads {bridge.memories}.")
        encoder.require_chunk(bridge.length)
        stack.require_length(bridge.length, "decoder")
        self.encoder = encoder
        self.bridge = bridge
        self.stack = stack
        self.head = stack.make_head(vocab)

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        length = inputs_BCL.shape[2]
        if length != self.bridge.length:
            raise UserError(f"A chunk has {length} tokens, the bridge makes {self.bridge.length} positions.")
        chunks = chunks_at(inputs_BCL, scored)
        decoded: Tensor = self.stack(self.bridge(self.encoder(chunks.flatten(0, 1))))
        return decoded.unflatten(0, chunks.shape[:2])

"""A decoder that reads memories in place of past chunks' tokens (shapes: see base.py).

Decoder pass c over a sequence of chunks, fixed slots, M = 1, C = 4:

    positions   0    1    2    3   | 4 ...
    c = 0      fill fill fill fill | tokens of chunk 0
    c = 1       e0  fill fill fill | tokens of chunk 1
    c = 3       e0   e1   e2  fill | tokens of chunk 3
"""

import torch
from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.base import LanguageModel, Stack, chunks_at, make_embedding, require_positive
from memlab.models.encoder import Encoder

SLOTS = ("fixed", "variable")


def decoder_length(chunks: int, length: int, memories: int = 1, slots: str = "fixed") -> int:
    """Positions of the longest decoder pass: memory slots, then a chunk's tokens."""
    return (chunks if slots == "fixed" else chunks - 1) * memories + length


class MemoryModel(LanguageModel):
    """Pass c sees the memories of chunks 0..c-1 in slots, then chunk c's tokens, and predicts within chunk c.

    encoder: None is the control without memory: every slot holds `fill`.
    slots: "fixed", always S = C*M of them, filled from the left, the rest holding `fill` (and attended);
        "variable", exactly c*M.
    An encoder of another width gets one biased linear to the decoder's.
    Raises UserError when the parts do not fit each other.
    """

    encoder: Encoder | None

    def __init__(
        self,
        encoder: Encoder | None,
        stack: Stack,
        vocab: int,
        *,
        chunks: int,
        length: int,
        memories: int = 1,
        slots: str = "fixed",
        fill: float = 0.0,
        embedding_std: float = 0.02,
    ) -> None:
        super().__init__()
        require_positive(vocab=vocab, chunks=chunks, length=length, memories=memories)
        if slots not in SLOTS:
            raise UserError(f"slots={slots!r}: choose one of {', '.join(SLOTS)}.")
        if encoder is not None and encoder.memories != memories:
            raise UserError(f"The encoder makes {encoder.memories} memories per chunk, the model has {memories}.")
        if encoder is not None:
            encoder.require_chunk(length)
        stack.require_length(decoder_length(chunks, length, memories, slots), "decoder")
        self.chunks = chunks
        self.length = length
        self.memories = memories
        self.slots = slots
        self.fill = fill
        self.encoder = encoder
        self.reads_memories = encoder is not None
        self.projection: nn.Module = (
            nn.Linear(encoder.width, stack.width)
            if encoder is not None and encoder.width != stack.width
            else nn.Identity()
        )
        self.embedding = make_embedding(vocab, stack.width, embedding_std)
        self.stack = stack
        self.head = stack.make_head(vocab)

    def embed(self, chunks_RL: Tensor) -> Tensor:
        """Memories (R, M, D) of single chunks at the decoder's width."""
        projected: Tensor = self.projection(self.encode(chunks_RL))
        return projected

    def encode(self, chunks_RL: Tensor) -> Tensor:
        """The encoder's memories (R, M, encoder's width), in front of the projection.

        A wholly frozen encoder builds no graph.
        """
        assert self.encoder is not None
        trainable = any(parameter.requires_grad for parameter in self.encoder.parameters())
        with torch.set_grad_enabled(trainable and torch.is_grad_enabled()):
            memories: Tensor = self.encoder(chunks_RL)
        return memories

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        batch, chunks, length = inputs_BCL.shape
        if chunks > self.chunks or length != self.length:
            raise UserError(
                f"The inputs have {chunks} chunks of {length} tokens; the model was built for up to {self.chunks}"
                f" chunks of {self.length}."
            )
        tokens_BnLD = self.embedding(chunks_at(inputs_BCL, scored))
        if memories_BcMD is None:
            memories_BcMD = self._memories(inputs_BCL[:, : scored.stop - 1])
        if self.slots == "fixed":
            return self._decode(self._fixed_slots(memories_BcMD.to(tokens_BnLD.dtype), scored), tokens_BnLD)
        passes = [
            self._decode(memories_BcMD[:, :c].reshape(batch, 1, c * self.memories, self.stack.width), tokens_B1LD)
            for c, tokens_B1LD in zip(scored, tokens_BnLD.split(1, dim=1), strict=True)
        ]
        return torch.cat(passes, dim=1)

    def _memories(self, inputs_BcL: Tensor) -> Tensor:
        """Memories (B, c, M, D) of the chunks given, in one encoder call; the constant where there is no encoder."""
        batch, chunks, _ = inputs_BcL.shape
        if self.encoder is None or chunks == 0:
            shape = (batch, chunks, self.memories, self.stack.width)
            return torch.full(shape, self.fill, device=inputs_BcL.device, dtype=self.embedding.weight.dtype)
        return self.embed(inputs_BcL.flatten(0, 1)).unflatten(0, (batch, chunks))

    def _fixed_slots(self, memories_BcMD: Tensor, scored: range) -> Tensor:
        """Slots (B, n, S, D) of the scored passes: pass c has the first c*M filled, the others hold the constant."""
        batch, _, _, width = memories_BcMD.shape
        filled = memories_BcMD.flatten(1, 2)
        empty = filled.new_full((batch, self.chunks * self.memories - filled.shape[1], width), self.fill)
        slots_B1SD = torch.cat((filled, empty), dim=1)[:, None]
        # Made on the device: a list of numbers would have to be copied there.
        index_S = torch.arange(slots_B1SD.shape[2], device=filled.device)
        used_n = torch.arange(scored.start, scored.stop, device=filled.device) * self.memories
        return torch.where((index_S < used_n[:, None])[:, :, None], slots_B1SD, self.fill)

    def _decode(self, slots_BnSD: Tensor, tokens_BnLD: Tensor) -> Tensor:
        """One decoder call over all passes; returns what stands at the tokens, (B, n, L, D)."""
        passes_RTD = torch.cat((slots_BnSD, tokens_BnLD), dim=2).flatten(0, 1)
        out_RTD: Tensor = self.stack(passes_RTD)
        # A copy, as the head takes one in any case: a view would keep what stands at the slots.
        return out_RTD[:, slots_BnSD.shape[2] :].contiguous().unflatten(0, tokens_BnLD.shape[:2])

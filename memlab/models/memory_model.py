"""A decoder that reads memories in place of past chunks' tokens (shapes: see base.py).

Decoder pass c over a sequence of chunks, fixed slots, M = 1, C = 4:

    positions   0    1    2    3   | 4 ...
    c = 0      fill fill fill fill | tokens of chunk 0
    c = 1       e0  fill fill fill | tokens of chunk 1
    c = 3       e0   e1   e2  fill | tokens of chunk 3
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.errors import UserError
from memlab.models.base import chunks_at, match_widths, require_positive
from memlab.models.language_model import LanguageModel, split_by_chunk
from memlab.models.ports import Decoder, Encoder, make_encoder

SLOTS = ("fixed", "variable")


@dataclass
class Pass:
    """A decoder pass in the making.

    chunks: how many chunks came before. memories: the decoder's state behind their memories. tokens_Bt: this chunk's
    tokens so far. decoder: the decoder's state behind the memories, the empty slots and these tokens.
    """

    chunks: int
    memories: Any
    tokens_Bt: Tensor
    decoder: Any = None


class MemoryModel(LanguageModel):
    """Pass c sees the memories of chunks 0..c-1 in slots, then chunk c's tokens, and predicts within chunk c.

    encoder: factory (vocab=, length=L) -> Encoder; None is the control without memory: every slot holds `fill`.
    decoder: factory (vocab=, length=S+L) -> Decoder, for the longest pass.
    memories: M, as many as the encoder makes per chunk.
    slots: "fixed", always S = C*M of them, filled from the left, the rest holding `fill` (and attended);
        "variable", exactly c*M.
    An encoder of another width gets one biased linear to the decoder's.
    Raises UserError when the parts do not fit each other, and for inputs of another layout.
    """

    can = frozenset({"predict"})
    decoder: Decoder

    def __init__(
        self,
        *,
        encoder: Callable[..., Encoder] | None,
        decoder: Callable[..., Decoder],
        vocab: int,
        chunks: int,
        length: int,
        memories: int = 1,
        slots: str = "fixed",
        fill: float = 0.0,
    ) -> None:
        super().__init__(vocab=vocab, chunks=chunks, length=length)
        require_positive(memories=memories)
        if slots not in SLOTS:
            raise UserError(f"slots={slots!r}: choose one of {', '.join(SLOTS)}.")
        self.memories = memories
        self.slots = slots
        self.fill = fill
        most_slots = (chunks if slots == "fixed" else chunks - 1) * memories
        self.decoder = decoder(vocab=vocab, length=most_slots + length)
        self.projection: nn.Module = nn.Identity()
        if encoder is not None:
            self.encoder = make_encoder(encoder, vocab=vocab, length=length, memories=memories)
            self.memory_floats = self.encoder.memory_floats
            self.projection = match_widths(self.encoder.width, self.decoder.width)

    def reads(self, scored: range) -> range:
        return range(0) if self.encoder is None else range(scored.stop - 1)

    def make_memories(self, chunks_RL: Tensor) -> Tensor:
        """Return memories (R, M, D) at the decoder's width."""
        assert self.encoder is not None
        return self.projection(self.encoder(chunks_RL))

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        self._require_inputs(*inputs_BCL.shape[1:])
        tokens_BnLD = self.decoder.embed(chunks_at(inputs_BCL, scored))
        if memories_BcMD is None:
            memories_BcMD = self._memories(inputs_BCL[:, : scored.stop - 1])
        if self.slots == "fixed":
            return self._decode(self._fixed_slots(memories_BcMD.to(tokens_BnLD.dtype), scored), tokens_BnLD)
        passes = [
            self._decode(memories_BcMD[:, None, :c].flatten(2, 3), tokens_B1LD)
            for c, tokens_B1LD in zip(scored, tokens_BnLD.split(1, dim=1), strict=True)
        ]
        return torch.cat(passes, dim=1)

    def open(self, inputs_BcL: Tensor, memories_BcMD: Tensor | None = None) -> Pass:
        """Make the memories of the chunks, and read them once."""
        if memories_BcMD is None:
            memories_BcMD = self._memories(inputs_BcL)
        state = Pass(0, self.decoder.begin(len(inputs_BcL)), inputs_BcL.new_empty(len(inputs_BcL), 0))
        self._read(memories_BcMD, state)
        return state

    def step(self, tokens_Bt: Tensor, state: Pass) -> Tensor:
        """Decode tokens one chunk after the other; a whole chunk becomes memories when a token follows it."""
        hidden = []
        for part_Bt in split_by_chunk(tokens_Bt, state.tokens_Bt.shape[1], self.length):
            if state.tokens_Bt.shape[1] == self.length:
                self._read(self._memories(state.tokens_Bt[:, None]), state)
            state.tokens_Bt = torch.cat((state.tokens_Bt, part_Bt), dim=1)
            hidden.append(self.decoder.step(self.decoder.embed(part_Bt), state.decoder))
        return torch.cat(hidden, dim=1)

    def _read(self, memories_BcMD: Tensor, state: Pass) -> None:
        """Read the memories of c more chunks, and stand in front of the next chunk's first token."""
        state.chunks += memories_BcMD.shape[1]
        state.tokens_Bt = state.tokens_Bt[:, :0]
        self._require_inputs(state.chunks + 1, self.length)
        memories_BSD = memories_BcMD.to(self.decoder.head.weight.dtype).flatten(1, 2)
        if memories_BSD.shape[1]:
            self.decoder.step(memories_BSD, state.memories)
        state.decoder = self.decoder.snapshot(state.memories)
        if self.slots == "fixed":  # at least this chunk's own slots are empty
            empty = (self.chunks - state.chunks) * self.memories
            self.decoder.step(F.pad(memories_BSD[:, :0], (0, 0, 0, empty), value=self.fill), state.decoder)

    def _memories(self, inputs_BcL: Tensor) -> Tensor:
        """Return memories (B, c, M, D) of the chunks in one encoder call; constants where there is no encoder."""
        batch, chunks, _ = inputs_BcL.shape
        if self.encoder is None or chunks == 0:
            shape = (batch, chunks, self.memories, self.decoder.width)
            return torch.full(shape, self.fill, device=inputs_BcL.device, dtype=self.decoder.head.weight.dtype)
        return self.make_memories(inputs_BcL.flatten(0, 1)).unflatten(0, (batch, chunks))

    def _fixed_slots(self, memories_BcMD: Tensor, scored: range) -> Tensor:
        """Return slots (B, n, S, D) of the scored passes: pass c has the first c*M filled, the others constant."""
        filled_B1SD = memories_BcMD.flatten(1, 2)[:, None]
        empty = self.chunks * self.memories - filled_B1SD.shape[2]
        slots_B1SD = F.pad(filled_B1SD, (0, 0, 0, empty), value=self.fill)
        # Made on the device: a list of numbers would have to be copied there.
        index_S = torch.arange(slots_B1SD.shape[2], device=slots_B1SD.device)
        used_n = torch.arange(scored.start, scored.stop, device=slots_B1SD.device) * self.memories
        return torch.where((index_S < used_n[:, None])[:, :, None], slots_B1SD, self.fill)

    def _decode(self, slots_BnSD: Tensor, tokens_BnLD: Tensor) -> Tensor:
        """Decode all passes in one call, and return what stands at the tokens, (B, n, L, D)."""
        passes_RTD = torch.cat((slots_BnSD, tokens_BnLD), dim=2).flatten(0, 1)
        out_RTD = self.decoder(passes_RTD)
        # Copy: the head would copy anyway, and a view would keep the slots' activations alive.
        return out_RTD[:, slots_BnSD.shape[2] :].contiguous().unflatten(0, tokens_BnLD.shape[:2])

"""A decoder that is told about the very chunk that it predicts (shapes: see base.py).

It tells what a memory is worth: with a memory of no cost, a chunk would cost nothing; with one that holds nothing, as
much as for a causal model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.base import chunks_at, match_widths, require_positive
from memlab.models.language_model import LanguageModel, split_by_chunk
from memlab.models.ports import Decoder, Encoder, make_encoder

WAYS = ("token", "features", "sum")


@dataclass
class Told:
    """Step-by-step decoding: the memories of all chunks that may be decoded, where it stands, the decoder's state."""

    memories_BcMD: Tensor
    chunk: int
    place: int
    decoder: Any = None


class OracleMemoryModel(LanguageModel):
    """Every chunk is predicted from its own memories and the tokens before, independently of other chunks.

    encoder: factory (vocab=, length=L) -> Encoder; None is the control that is told nothing: all memories hold 1.
    decoder: factory (vocab=, length=) -> Decoder.
    way: how the M memories come in. "token": in M slots in front of the tokens, through a linear map where widths
        differ; "features": joined to every token's vector, through one biased linear map (M*D' + D) -> D; "sum": added
        to every token's vector, through one biased linear map M*D' -> D where that is not D already.
    Raises UserError when the parts do not fit each other, and for inputs of another layout.
    """

    can = frozenset({"predict"})
    generates = False
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
        way: str = "token",
    ) -> None:
        super().__init__(vocab=vocab, chunks=chunks, length=length)
        require_positive(memories=memories)
        if way not in WAYS:
            raise UserError(f"way={way!r}: choose one of {', '.join(WAYS)}.")
        self.way = way
        self.memories = memories
        self.decoder = decoder(vocab=vocab, length=length + (memories if way == "token" else 0))
        width = self.decoder.width
        if encoder is not None:
            self.encoder = make_encoder(encoder, vocab=vocab, length=length, memories=memories)
            self.memory_floats = self.encoder.memory_floats
            width = self.encoder.width
        given = width if way == "token" else memories * width
        if way == "features":
            self.joined = nn.Linear(given + self.decoder.width, self.decoder.width)
        self.projection = nn.Identity() if way == "features" else match_widths(given, self.decoder.width)

    def reads(self, scored: range) -> range:
        return range(0) if self.encoder is None else scored

    def make_memories(self, chunks_RL: Tensor) -> Tensor:
        """Return memories (R, M, D') at the encoder's width."""
        assert self.encoder is not None
        return self.encoder(chunks_RL)

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        self._require_inputs(*inputs_BCL.shape[1:])
        tokens_BnL = chunks_at(inputs_BCL, scored)
        shape = tokens_BnL.shape[:2]
        if self.encoder is None:
            memories_BcMD = self._constants(shape[0], shape[1], tokens_BnL)
        elif memories_BcMD is None:
            memories_BcMD = self.make_memories(tokens_BnL.flatten(0, 1)).unflatten(0, shape)
        told_RTD = self._told(memories_BcMD.flatten(0, 1), self.decoder.embed(tokens_BnL.flatten(0, 1)))
        return self.decoder(told_RTD, told_RTD.shape[1] - self.length).unflatten(0, shape)

    def open(self, inputs_BcL: Tensor, memories_BcMD: Tensor | None = None) -> Told:
        """Return the state behind c chunks. memories_BcMD: of all chunks that will be decoded, and of those before."""
        if self.encoder is None:
            memories_BcMD = self._constants(len(inputs_BcL), self.chunks, inputs_BcL)
        elif memories_BcMD is None:
            raise UserError("An oracle memory model decodes from the memories of the chunks themselves: give them.")
        return Told(memories_BcMD, inputs_BcL.shape[1], 0)

    def step(self, tokens_Bt: Tensor, state: Told) -> Tensor:
        hidden = []
        for part_Bt in split_by_chunk(tokens_Bt, state.place % self.length, self.length):
            if state.place == self.length:
                state.chunk, state.place, state.decoder = state.chunk + 1, 0, None
            memories_BMD = state.memories_BcMD[:, state.chunk]
            told_BtD = self._told(memories_BMD, self.decoder.embed(part_Bt))
            if state.decoder is None:
                state.decoder = self.decoder.begin(len(part_Bt))
            elif self.way == "token":
                told_BtD = told_BtD[:, self.memories :]  # the slots are read already
            hidden.append(self.decoder.step(told_BtD, state.decoder)[:, -part_Bt.shape[1] :])
            state.place += part_Bt.shape[1]
        return torch.cat(hidden, dim=1)

    def _constants(self, batch: int, chunks: int, like: Tensor) -> Tensor:
        shape = (batch, chunks, self.memories, self.decoder.width)
        return torch.ones(shape, device=like.device, dtype=self.decoder.head.weight.dtype)

    def _told(self, memories_RMD: Tensor, tokens_RtD: Tensor) -> Tensor:
        """Return what the decoder reads: M more positions with way="token", else one vector per token."""
        if self.way == "token":
            return torch.cat((self.projection(memories_RMD).to(tokens_RtD.dtype), tokens_RtD), dim=1)
        vector_R1F = self.projection(memories_RMD.flatten(1))[:, None].to(tokens_RtD.dtype)
        if self.way == "sum":
            return tokens_RtD + vector_R1F
        return self.joined(torch.cat((tokens_RtD, vector_R1F.expand(-1, tokens_RtD.shape[1], -1)), dim=2))

"""The recurrent-memory baseline: one decoder hands a vector from chunk to chunk (shapes: see base.py)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.language_model import LanguageModel, split_by_chunk
from memlab.models.ports import Decoder


@dataclass
class Reading:
    """A chunk being read: the memory it was given, how many of its tokens are read, the decoder's state."""

    memory_B1D: Tensor
    tokens: int
    decoder: Any


class RecurrentMemoryModel(LanguageModel):
    """One decoder reads chunk after chunk as [read slot | L tokens | write slot].

    Both slots are fed the memory that the chunk before left; the write slot's output is the next memory. The first
    memory is learned, and drawn as a token's vector is. Gradients go back through all chunks, or through at most
    `detach_every` of them (0: all).
    decoder: factory (vocab=, length=L+2) -> Decoder.
    Raises UserError for a negative `detach_every`, and for inputs of another layout.
    """

    can = frozenset({"predict"})
    endless = True
    decoder: Decoder
    memories = 1

    def __init__(
        self, *, decoder: Callable[..., Decoder], vocab: int, chunks: int, length: int, detach_every: int = 0
    ) -> None:
        super().__init__(vocab=vocab, chunks=chunks, length=length)
        if detach_every < 0:
            raise UserError(f"detach_every={detach_every}: choose a number of chunks, or 0 for all.")
        self.detach_every = detach_every
        self.decoder = decoder(vocab=vocab, length=length + 2)
        self.memory_floats = self.decoder.width
        self.first_memory = nn.Parameter(torch.empty(self.decoder.width).normal_(std=self.decoder.embedding_std))

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        self._require_inputs(*inputs_BCL.shape[1:])
        memory_B1D = self.first_memory.expand(len(inputs_BCL), 1, -1)
        outputs = []
        for chunk in range(scored.stop):
            if self.detach_every and chunk % self.detach_every == 0 and chunk > 0:
                memory_B1D = memory_B1D.detach()
            out_BTD = self._read(inputs_BCL[:, chunk], memory_B1D)
            memory_B1D = out_BTD[:, -1:]
            if chunk in scored:
                outputs.append(out_BTD[:, 1:-1])
        return torch.stack(outputs, dim=1)

    def open(self, inputs_BcL: Tensor, memories_BcMD: Tensor | None = None) -> Reading:
        """Read the chunks once, each in one pass."""
        memory_B1D = self.first_memory.expand(len(inputs_BcL), 1, -1)
        for tokens_BL in inputs_BcL.unbind(1):
            memory_B1D = self._read(tokens_BL, memory_B1D)[:, -1:]
        return Reading(memory_B1D, 0, self._begin(memory_B1D))

    def step(self, tokens_Bt: Tensor, state: Reading) -> Tensor:
        """Decode tokens one chunk after the other; a whole chunk's memory is written when a token follows it."""
        hidden = []
        for part_Bt in split_by_chunk(tokens_Bt, state.tokens, self.length):
            if state.tokens == self.length:
                state.memory_B1D = self.decoder.step(state.memory_B1D, state.decoder)
                state.tokens = 0
                state.decoder = self._begin(state.memory_B1D)
            state.tokens += part_Bt.shape[1]
            hidden.append(self.decoder.step(self.decoder.embed(part_Bt), state.decoder))
        return torch.cat(hidden, dim=1)

    def _read(self, tokens_BL: Tensor, memory_B1D: Tensor) -> Tensor:
        return self.decoder(torch.cat((memory_B1D, self.decoder.embed(tokens_BL), memory_B1D), dim=1))

    def _begin(self, memory_B1D: Tensor) -> Any:
        """Return the decoder's state behind the read slot."""
        state = self.decoder.begin(len(memory_B1D))
        self.decoder.step(memory_B1D, state)
        return state

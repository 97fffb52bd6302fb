"""What a model has read so far: memories (or a cache) of past chunks, and the cache of the chunk that is being read.

    chunks       0    1    2    3    4
    reading 3  | e0 | e1 | e2 | tokens
    reading 4       | e1 | e2 | e3 | tokens        C = 4: the oldest memory falls out

A chunk that is full becomes a memory when a token follows, and its cache is dropped. A model of C chunks reads the last
C - 1 of them; one whose own memory goes on without end (`endless`) has read all.

Shapes: B texts, c past chunks, k of them with known memories, L tokens per chunk, t tokens, M memories, D width.
"""

from copy import deepcopy

import torch
from torch import Tensor

from memlab.models import LanguageModel
from memlab.models.language_model import split_by_chunk


class Context:
    """The context of B texts that have equally many tokens. Use it without gradients.

    past_BcL: the chunks that were read before, whole ones. memories_BkMD: memories of the first k of them, where they
    are known; tokens of these chunks are then not read by a model that reads memories.
    """

    def __init__(self, model: LanguageModel, past_BcL: Tensor, memories_BkMD: Tensor | None = None) -> None:
        self.model = model
        self.chunks_read = past_BcL.shape[1]
        self._most = model.chunks - 1
        self._reads_memories = bool(model.reads(range(model.chunks)))
        self._past_BcL = self._latest(past_BcL)
        self._memories_BcMD: Tensor | None = None
        if self._reads_memories:
            dropped = past_BcL.shape[1] - self._past_BcL.shape[1]
            known = [] if memories_BkMD is None else [memories_BkMD[:, dropped:]]
            unknown_BcL = self._past_BcL[:, known[0].shape[1] if known else 0 :]
            if unknown_BcL.shape[1]:
                made = model.make_memories(unknown_BcL.flatten(0, 1)).unflatten(0, unknown_BcL.shape[:2])
                known = [part.to(made) for part in known] + [made]
            self._memories_BcMD = torch.cat(known, dim=1) if known else None
        self._tokens_Bt = past_BcL.new_empty(len(past_BcL), 0)
        self._open()

    def read(self, tokens_Bt: Tensor) -> Tensor:
        """Read t tokens, at least one; return what the head reads at them, (B, t, D)."""
        hidden = []
        for part_Bt in split_by_chunk(tokens_Bt, self._tokens_Bt.shape[1], self.model.length):
            if self._tokens_Bt.shape[1] == self.model.length:
                self._end_chunk()
            self._tokens_Bt = torch.cat((self._tokens_Bt, part_Bt), dim=1)
            hidden.append(self.model.step(part_Bt, self._state))
        self._last_BD = hidden[-1][:, -1]
        return torch.cat(hidden, dim=1)

    def next_hidden(self) -> Tensor:
        """Return what the head reads to predict the next token, (B, D).

        No objective scores a chunk's first token, so that the last place of a chunk was trained to predict nothing. The
        first token of the next chunk is predicted one place earlier instead: by a pass over the same memories and the
        chunk without its first token.
        """
        if self._tokens_Bt.shape[1] < self.model.length or self.model.length == 1:
            return self._last_BD
        return self.model.step(self._tokens_Bt[:, 1:], deepcopy(self._front))[:, -1]

    def _end_chunk(self) -> None:
        """The chunk that was read becomes one of the past."""
        self.chunks_read += 1
        chunk_B1L = self._tokens_Bt[:, None]
        self._past_BcL = self._latest(torch.cat((self._past_BcL, chunk_B1L), dim=1))
        if self._reads_memories:
            made_B1MD = self.model.make_memories(self._tokens_Bt)[:, None]
            before = made_B1MD[:, :0] if self._memories_BcMD is None else self._memories_BcMD
            self._memories_BcMD = self._latest(torch.cat((before, made_B1MD), dim=1))
        self._tokens_Bt = self._tokens_Bt[:, :0]
        if self._reads_memories or (self.chunks_read > self._most and not self.model.endless):
            self._open()
        else:  # the model's state goes on from chunk to chunk
            self._front = deepcopy(self._state)

    def _latest(self, x: Tensor) -> Tensor:
        """Return the chunks (B, c, ...) that the model can still read."""
        return x if self.model.endless else x[:, max(0, x.shape[1] - self._most) :]

    def _open(self) -> None:
        self._state = self.model.open(self._past_BcL, self._memories_BcMD)
        self._front = deepcopy(self._state)  # in front of the chunk's first token

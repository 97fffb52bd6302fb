"""The recurrent-memory baseline: one stack hands a vector from chunk to chunk (shapes: see base.py)."""

import torch
from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.base import LanguageModel, Stack, make_embedding, require_positive


class RecurrentMemoryModel(LanguageModel):
    """One stack reads chunk after chunk as [read slot | L tokens | write slot].

    Both slots are fed the memory that the chunk before left; the write slot's output is the next one. The first memory
    is learned. Gradients go back through all chunks, or through at most `detach_every` of them (0: all).
    Raises UserError when the stack has fewer than L + 2 positions, and for inputs of another layout.
    """

    encoder = None

    def __init__(
        self,
        stack: Stack,
        vocab: int,
        *,
        chunks: int,
        length: int,
        detach_every: int = 0,
        embedding_std: float = 0.02,
    ) -> None:
        super().__init__()
        require_positive(vocab=vocab, chunks=chunks, length=length)
        if detach_every < 0:
            raise UserError(f"detach_every={detach_every}: choose a number of chunks, or 0 for all.")
        stack.require_length(length + 2, "recurrent")
        self.chunks = chunks
        self.length = length
        self.detach_every = detach_every
        self.embedding = make_embedding(vocab, stack.width, embedding_std)
        self.first_memory = nn.Parameter(torch.empty(stack.width).normal_(std=embedding_std))
        self.stack = stack
        self.head = stack.make_head(vocab)

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        batch, chunks, length = inputs_BCL.shape
        if chunks > self.chunks or length != self.length:
            raise UserError(
                f"The inputs have {chunks} chunks of {length} tokens; the model was built for up to {self.chunks}"
                f" chunks of {self.length}."
            )
        memory_B1D = self.first_memory.expand(batch, 1, -1)
        outputs = []
        for chunk in range(scored.stop):
            if self.detach_every and chunk % self.detach_every == 0 and chunk > 0:
                memory_B1D = memory_B1D.detach()
            tokens_BLD = self.embedding(inputs_BCL[:, chunk])
            out_BTD = self.stack(torch.cat((memory_B1D, tokens_BLD, memory_B1D), dim=1))
            memory_B1D = out_BTD[:, -1:]
            if chunk in scored:
                outputs.append(out_BTD[:, 1:-1])
        return torch.stack(outputs, dim=1)

"""Tokens to memories (shapes: see base.py)."""

from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.base import Stack, make_embedding, require_positive


class Encoder(nn.Module):
    """Token embedding and stack. Called: tokens (R, L) -> memories (R, M, D), oldest first.

    The memories are the outputs at the last M positions before the last `skip` ones. skip=1 is for a mixer trained on
    next-token prediction only: its row L-1 was never trained.
    compression c > 1 passes them through D -> D/c -> D (two biased linears, no nonlinearity), so that D/c floats are
    what must be stored. `features` stops in front of it: a causal LM reads those.
    """

    def __init__(
        self,
        stack: Stack,
        vocab: int,
        *,
        memories: int = 1,
        skip: int = 0,
        compression: int = 1,
        embedding_std: float = 0.02,
    ) -> None:
        super().__init__()
        require_positive(vocab=vocab, memories=memories, compression=compression)
        if skip < 0:
            raise UserError(f"skip={skip}: choose 0 (the last position) or more.")
        if stack.width % compression:
            raise UserError(f"compression={compression} must divide the encoder's width={stack.width}.")
        stack.require_length(memories + skip, "encoder")
        self.width = stack.width
        self.memories = memories
        self.skip = skip
        self.memory_floats = memories * (stack.width // compression)
        self.embedding = make_embedding(vocab, stack.width, embedding_std)
        self.stack = stack
        narrow = stack.width // compression
        self.compression: nn.Module = (
            nn.Sequential(nn.Linear(stack.width, narrow), nn.Linear(narrow, stack.width))
            if compression > 1
            else nn.Identity()
        )

    def features(self, tokens_RL: Tensor) -> Tensor:
        """(R, L) -> the stack's outputs (R, L, D)."""
        features: Tensor = self.stack(self.embedding(tokens_RL))
        return features

    def forward(self, tokens_RL: Tensor) -> Tensor:
        self.require_chunk(tokens_RL.shape[1])
        end = tokens_RL.shape[1] - self.skip
        memories: Tensor = self.compression(self.stack.at(self.embedding(tokens_RL), end - self.memories, end))
        return memories

    def require_chunk(self, length: int) -> None:
        """Raise UserError when chunks of `length` tokens are too short for the memories or too long for the stack."""
        if length < self.memories + self.skip:
            raise UserError(
                f"A chunk of {length} tokens is too short for memories={self.memories} with skip={self.skip}:"
                " lengthen the chunk or take fewer memories."
            )
        self.stack.require_length(length, "encoder")

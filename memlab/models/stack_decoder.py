"""A decoder made of a token table, a stack and a head (shapes: see base.py)."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.base import make_embedding, require_positive
from memlab.models.ports import Decoder
from memlab.models.stack import Stack


class StackDecoder(Decoder):
    """Tokens are embedded by a table drawn from N(0, embedding_std^2); the head is drawn as the stack's matrices are.

    length: positions of the longest pass, memories included. stack: factory (length) -> Stack.
    reads_tokens: False leaves the table out, for an autoencoder, whose decoder reads memories alone.
    Raises UserError for a stack that reads later positions where tokens are read: it would see what it is to predict.
    """

    def __init__(
        self,
        *,
        vocab: int,
        length: int,
        stack: Callable[[int], Stack],
        embedding_std: float = 0.02,
        reads_tokens: bool = True,
    ) -> None:
        super().__init__()
        require_positive(vocab=vocab, length=length)
        self.stack = stack(length)
        if reads_tokens and not self.stack.causal:
            raise UserError("The decoder reads the tokens that it is to predict: choose causal=true for its mixers.")
        self.width = self.stack.width
        self.causal = self.stack.causal
        self.embedding_std = embedding_std
        self.embedding = make_embedding(vocab, self.width, embedding_std) if reads_tokens else None
        self.head = nn.Linear(self.width, vocab, bias=False)
        if self.stack.weight_std is not None:
            nn.init.normal_(self.head.weight, std=self.stack.weight_std)

    def embed(self, tokens: Tensor) -> Tensor:
        assert self.embedding is not None, "built with reads_tokens=False"
        return self.embedding(tokens)

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        return self.stack(x_RTD, start, stop)

    def begin(self, rows: int) -> Any:
        return self.stack.begin(rows)

    def step(self, x_RtD: Tensor, state: Any) -> Tensor:
        return self.stack.step(x_RtD, state)

    def snapshot(self, state: Any) -> Any:
        return self.stack.snapshot(state)

    def state_size(self, length: int) -> int:
        return self.stack.state_size(length)

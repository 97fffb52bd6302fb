"""What every stack and every model promises.

Shape legend of this package: R rows, B batch, C chunks, L tokens per chunk, T positions, D width, N layers, H heads,
K taps, V vocabulary, M memories per chunk, S = C*M memory slots, n scored chunks.
"""

import torch
from torch import Tensor, nn

from memlab.errors import UserError


class Stack(nn.Module):
    """Blocks that turn (R, T, D) into (R, T, D): no embedding, no head.

    `length` is the number of positions the weights were made for; None: any. `weight_std` is the standard deviation
    of the stack's weight matrices, which its model's head follows; None: PyTorch's default.
    """

    width: int
    length: int | None
    weight_std: float | None

    def forward(self, x_RTD: Tensor) -> Tensor:
        raise NotImplementedError

    def at(self, x_RTD: Tensor, start: int, stop: int) -> Tensor:
        """Outputs at positions start..stop-1 alone; overridden by stacks whose last block can leave out the others."""
        return self(x_RTD)[:, start:stop]

    def make_head(self, vocab: int) -> nn.Linear:
        """A language-model head D -> V without bias, drawn the way this stack draws its matrices."""
        head = nn.Linear(self.width, vocab, bias=False)
        if self.weight_std is not None:
            nn.init.normal_(head.weight, std=self.weight_std)
        return head

    def require_length(self, needed: int, role: str) -> None:
        """Raise UserError when the stack has fewer than `needed` positions."""
        if self.length is not None and self.length < needed:
            raise UserError(
                f"The {role} stack has {self.length} positions and {needed} are needed: build it with length={needed}."
            )


class LanguageModel(nn.Module):
    """A model of token tables. `encoder` makes memories (or is the causal LM's body); None: there is none.

    reads_memories: whether decoder passes read the memories of chunks before theirs; objectives then embed each
    distinct chunk once (`embed`) and hand the memories to `hidden`.
    """

    encoder: nn.Module | None
    head: nn.Linear
    reads_memories: bool = False
    regenerates: bool = True  # has a head, and `forward` gives logits

    def embed(self, chunks_RL: Tensor) -> Tensor:
        """Memories (R, M, D) of single chunks, as `hidden` takes them; only of models that read memories."""
        raise NotImplementedError

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        """What the head reads at the scored chunks (a range without gaps), (B, n, L, D).

        `memories_BcMD`: memories of all chunks before the last scored one, where they are known already.
        """
        raise NotImplementedError

    def forward(self, inputs_BCL: Tensor, scored: range | None = None) -> Tensor:
        """Logits (B, n, L, V) of the scored chunks; None: of all."""
        chunks = range(inputs_BCL.shape[1]) if scored is None else scored
        logits: Tensor = self.head(self.hidden(inputs_BCL, chunks))
        return logits


def chunks_at(inputs_BCL: Tensor, chosen: range) -> Tensor:
    """Those chunks, as a view: an index list would be copied to the device at every step."""
    return inputs_BCL[:, chosen.start : chosen.stop]


def make_embedding(vocab: int, width: int, std: float) -> nn.Embedding:
    """Token embedding (V, D) drawn from N(0, std^2)."""
    embedding = nn.Embedding(vocab, width)
    with torch.no_grad():
        embedding.weight.normal_(std=std)
    return embedding


def require_positive(**values: int) -> None:
    """Raise UserError naming the first value that is not a positive whole number."""
    for name, value in values.items():
        if value < 1:
            raise UserError(f"{name}={value}: choose a whole number of at least 1.")

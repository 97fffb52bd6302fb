"""The two ports of a memory model: what makes memories, and what reads them and predicts (shapes: see base.py)."""

from collections.abc import Callable

from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models.token_mixer import StepByStep

FLOAT_BITS = 32  # what storing a float takes, where nothing says otherwise


class Encoder(nn.Module):
    """Makes memories from tokens: (R, L) -> (R, M, D), oldest first.

    width: D. memories: M. memory_floats: floats that must be stored per chunk, of float_bits each. embedding: the token
    table.
    borrowed: names in this module's state dict that are not the model's own to save, such as frozen weights that are
        published elsewhere.
    """

    width: int
    memories: int
    memory_floats: int
    float_bits: int = FLOAT_BITS
    embedding: nn.Module
    borrowed: frozenset[str] = frozenset()

    def forward(self, tokens_RL: Tensor) -> Tensor:
        raise NotImplementedError

    def store(self, tokens_RL: Tensor) -> Tensor:
        """Return the floats to be stored, (R, M, d), before a channel changes them; by default the memories."""
        return self(tokens_RL)

    def recall(self, stored_RMd: Tensor) -> Tensor:
        """Return the memories that stored floats give: `recall(store(tokens))` is what `forward` returns."""
        return stored_RMd

    def freeze(self, what: bool | str) -> None:
        """Take the gradient from all parameters (True), from all but the token table ("blocks"), or none (False).

        Raises UserError for another value.
        """
        if what not in (True, False, "blocks"):
            raise UserError(f"freeze={what!r}: choose true, false or blocks.")
        if what is not False:
            self.requires_grad_(False)
        if what == "blocks":
            self.embedding.requires_grad_(True)


def make_encoder(factory: Callable[..., Encoder], *, vocab: int, length: int, memories: int) -> Encoder:
    """Return the encoder that a factory (vocab=, length=) makes. Raises UserError unless it makes M = `memories`."""
    encoder = factory(vocab=vocab, length=length)
    if encoder.memories != memories:
        raise UserError(f"The encoder makes {encoder.memories} memories per chunk, the model has {memories}.")
    return encoder


class Decoder(StepByStep):
    """Reads memories and tokens as vectors and predicts: (R, T, D) -> (R, T, D), then `head` gives logits.

    width: D. embedding_std: standard deviation of a token's vector. head: nn.Linear D -> V without bias.
    borrowed: as in Encoder. Step-by-step decoding recomputes unless `begin` and `step` are overridden.
    """

    embedding_std: float
    head: nn.Linear
    borrowed: frozenset[str] = frozenset()

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the vectors (..., D) of tokens (...)."""
        raise NotImplementedError

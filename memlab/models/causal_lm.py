"""A causal language model over all chunks at once (shapes: see base.py)."""

from torch import Tensor

from memlab.models.base import LanguageModel, chunks_at, require_positive
from memlab.models.encoder import Encoder


class CausalLM(LanguageModel):
    """Reads (B, C, L) as (B, C*L): the full-context control, and with C = 1 the training of a causal encoder.

    Its embedding and stack are an `Encoder`, so that a memory model can take them.
    """

    encoder: Encoder

    def __init__(self, encoder: Encoder, vocab: int) -> None:
        super().__init__()
        require_positive(vocab=vocab)
        self.encoder = encoder
        self.head = encoder.stack.make_head(vocab)

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        read = inputs_BCL[:, : scored.stop]  # causal: later chunks cannot matter
        return chunks_at(self.encoder.features(read.flatten(1)).unflatten(1, read.shape[1:]), scored)

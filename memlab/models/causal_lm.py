"""A causal language model over all chunks at once (shapes: see base.py)."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from memlab.models.base import chunks_at
from memlab.models.language_model import LanguageModel
from memlab.models.ports import Decoder


class CausalLM(LanguageModel):
    """Reads (B, C, L) as (B, C*L): the full-context control, and with C = 1 the training of a causal encoder.

    decoder: factory (vocab=, length=C*L) -> Decoder. A StackEncoder takes its table and stack from `decoder.*`.
    """

    can = frozenset({"predict"})
    decoder: Decoder

    def __init__(self, *, decoder: Callable[..., Decoder], vocab: int, chunks: int, length: int) -> None:
        super().__init__(vocab=vocab, chunks=chunks, length=length)
        self.decoder = decoder(vocab=vocab, length=chunks * length)

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        self._require_inputs(*inputs_BCL.shape[1:])
        read = inputs_BCL[:, : scored.stop]  # causal: later chunks cannot matter
        hidden_BTD = self.decoder(self.decoder.embed(read.flatten(1)))
        return chunks_at(hidden_BTD.unflatten(1, read.shape[1:]), scored)

    def open(self, inputs_BcL: Tensor, memories_BcMD: Tensor | None = None) -> Any:
        """Read the chunks once; the decoder's state is carried from chunk to chunk."""
        state = self.decoder.begin(len(inputs_BcL))
        if inputs_BcL.shape[1]:
            self.step(inputs_BcL.flatten(1), state)
        return state

    def step(self, tokens_Bt: Tensor, state: Any) -> Tensor:
        return self.decoder.step(self.decoder.embed(tokens_Bt), state)

"""What every model promises (shapes: see base.py)."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.errors import UserError
from memlab.models.base import require_positive
from memlab.models.ports import FLOAT_BITS, Decoder, Encoder


class LanguageModel(nn.Module):
    """A model of windows of C chunks with L tokens each.

    can: what it can be asked for, some of "predict" (next tokens from those before, by `hidden`), "regenerate" (a chunk
        from its own memories, by `hidden`) and "retrieve" (compare memories, by `make_memories`).
    generates: whether what came before is enough to predict from, so that text can be decoded step by step.
    endless: whether `step` may go on behind the last of the C chunks.
    memories, memory_floats: memory vectors per chunk, and floats stored for them; 0 for a model without memory.
    float_bits: what storing such a float takes.
    encoder, decoder: None where the model has none.
    A model of your own sets `can` and defines `hidden`; the rest has defaults.
    """

    can: ClassVar[frozenset[str]] = frozenset()
    generates: ClassVar[bool] = True
    endless: ClassVar[bool] = False
    encoder: Encoder | None
    decoder: Decoder | None
    memories: int = 0
    memory_floats: int = 0

    def __init__(self, *, vocab: int, chunks: int, length: int) -> None:
        super().__init__()
        require_positive(vocab=vocab, chunks=chunks, length=length)
        self.vocab = vocab
        self.chunks = chunks
        self.length = length
        self.encoder = None
        self.decoder = None

    @property
    def float_bits(self) -> int:
        return FLOAT_BITS if self.encoder is None else self.encoder.float_bits

    @property
    def head(self) -> Any:
        """The linear D -> V without bias that gives logits: the decoder's, unless the model has one of its own."""
        own = self._modules.get("head")
        if own is not None:
            return own
        assert self.decoder is not None, f"{type(self).__name__} has no head"
        return self.decoder.head

    def hidden(self, inputs_BCL: Tensor, scored: range, memories_BcMD: Tensor | None = None) -> Tensor:
        """Return what the head reads at the scored chunks (a range without gaps), (B, n, L, D).

        memories_BcMD: `make_memories` of the chunks `reads(scored)`, where they are known already.
        """
        raise NotImplementedError

    def forward(self, inputs_BCL: Tensor, scored: range | None = None) -> Tensor:
        """Return the logits (B, n, L, V) of the scored chunks; None: of all."""
        return self.head(self.hidden(inputs_BCL, range(inputs_BCL.shape[1]) if scored is None else scored))

    def reads(self, scored: range) -> range:
        """Return the chunks whose memories the passes over the scored chunks read; by default none."""
        return range(0)

    def make_memories(self, chunks_RL: Tensor) -> Tensor:
        """Return the memories (R, M, D) of single chunks, as `hidden` takes them; only of models that have some."""
        raise NotImplementedError

    def open(self, inputs_BcL: Tensor, memories_BcMD: Tensor | None = None) -> Any:
        """Return the state of step-by-step decoding behind c whole chunks (0 or more).

        memories_BcMD: `make_memories` of these chunks, where they are known already. This default keeps the tokens.
        """
        assert "predict" in self.can, f"{type(self).__name__} does not predict next tokens"
        return {"tokens": inputs_BcL.flatten(1)}

    def step(self, tokens_Bt: Tensor, state: Any) -> Tensor:
        """Return what the head reads at the next t tokens, (B, t, D), and change `state`; chunks may end in between.

        Equal to `hidden` at these places. This default calls `hidden` on everything since the first token.
        """
        before, new = state["tokens"].shape[1], tokens_Bt.shape[1]
        state["tokens"] = torch.cat((state["tokens"], tokens_Bt), dim=1)
        first, stop = before // self.length, -(-(before + new) // self.length)
        inputs_BT = F.pad(state["tokens"], (0, stop * self.length - before - new))  # later tokens change nothing
        hidden_BnLD = self.hidden(inputs_BT.unflatten(1, (stop, self.length)), range(first, stop))
        start = before - first * self.length
        return hidden_BnLD.flatten(1, 2)[:, start : start + new]

    def freeze_encoder(self, what: bool | str) -> None:
        """Freeze the encoder: True wholly, "blocks" all but its token table, False not at all.

        Raises UserError for another value, and for a model without an encoder unless `what` is False.
        """
        if self.encoder is not None:
            self.encoder.freeze(what)
        elif what is not False:
            raise UserError(f"freeze={what}: {type(self).__name__} has no encoder here.")

    def saved_names(self) -> set[str]:
        """Return the names of the state dict that are saved with a run: all but those that a port has borrowed."""
        borrowed = {
            f"{place}.{name}" for place, module in self.named_modules() for name in getattr(module, "borrowed", ())
        }
        return set(self.state_dict()) - borrowed

    def _require_inputs(self, chunks: int, length: int) -> None:
        if chunks > self.chunks or length != self.length:
            raise UserError(
                f"The inputs have {chunks} chunks of {length} tokens; the model was built for up to {self.chunks}"
                f" chunks of {self.length}."
            )


def split_by_chunk(tokens_Bt: Tensor, before: int, length: int) -> tuple[Tensor, ...]:
    """Split tokens where chunks of `length` end; `before` tokens of the first one's chunk came earlier."""
    ends = range(length - before % length, tokens_Bt.shape[1], length)
    return tokens_Bt.tensor_split(list(ends), dim=1)

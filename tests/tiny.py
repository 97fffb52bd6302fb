"""Models small enough for a test, by kind of stack."""

from memlab.models import (
    Autoencoder,
    CausalLM,
    Encoder,
    MemoryModel,
    MixerStack,
    RecurrentMemoryModel,
    Stack,
    TransformerStack,
    UnrollBridge,
)

KINDS = ("mixer", "transformer")
VOCAB = 24
CHUNKS = 4
LENGTH = 6
WIDTH = 16


def stack(kind: str, length: int, *, width: int = WIDTH, heads: int = 2) -> Stack:
    if kind == "mixer":
        return MixerStack(width=width, layers=2, length=length, heads=heads)
    return TransformerStack(width=width, layers=2, heads=2)


def encoder(kind: str, *, length: int = LENGTH, width: int = WIDTH, memories: int = 1, skip: int = 0) -> Encoder:
    return Encoder(stack(kind, length, width=width), VOCAB, memories=memories, skip=skip)


def causal_lm(kind: str, chunks: int = CHUNKS) -> CausalLM:
    return CausalLM(encoder(kind, length=chunks * LENGTH), VOCAB)


def autoencoder(kind: str, *, memories: int = 1) -> Autoencoder:
    bridge = UnrollBridge(width=WIDTH, length=LENGTH, memories=memories)
    return Autoencoder(encoder(kind, memories=memories), stack(kind, LENGTH), bridge, VOCAB)


def memory_model(
    kind: str,
    *,
    slots: str = "fixed",
    memories: int = 1,
    encoder_width: int = WIDTH,
    with_encoder: bool = True,
    fill: float = 0.5,
    heads: int = 0,
) -> MemoryModel:
    """heads: of the mixer decoder, which is flat when published."""
    return MemoryModel(
        encoder(kind, width=encoder_width, memories=memories) if with_encoder else None,
        stack(kind, CHUNKS * memories + LENGTH, heads=heads),
        VOCAB,
        chunks=CHUNKS,
        length=LENGTH,
        memories=memories,
        slots=slots,
        fill=fill,
    )


def recurrent(kind: str, *, detach_every: int = 0) -> RecurrentMemoryModel:
    """With a flat mixer, as in memory models."""
    return RecurrentMemoryModel(
        stack(kind, LENGTH + 2, heads=0), VOCAB, chunks=CHUNKS, length=LENGTH, detach_every=detach_every
    )

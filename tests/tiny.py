"""Models small enough for a test, by kind of stack."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from memlab.models import (
    Autoencoder,
    CausalAttention,
    CausalLM,
    ChunkEncoder,
    GeluMLP,
    LanguageModel,
    MaskedMixing,
    MemoryModel,
    RecurrentMemoryModel,
    RepeatBridge,
    RMSNorm,
    Stack,
    StackDecoder,
    StackEncoder,
    SwiGLU,
    UnrollBridge,
)
from memlab.studies.oracle import OracleMemoryModel

KINDS = ("mixer", "transformer")
STACKS = (*KINDS, "hybrid")  # the hybrid: a mixer's and a transformer's token mixing by turns
VOCAB = 24
CHUNKS = 4
LENGTH = 6
WIDTH = 16


def stack(kind: str, *, width: int = WIDTH, heads: int = 2, taps: int = 1, **more: Any) -> Callable[[int], Stack]:
    """Factory (length) -> Stack of two layers. heads, taps: of mixers."""
    mixing = partial(MaskedMixing, heads=heads, taps=taps)
    attention = partial(CausalAttention, heads=2)
    if kind == "mixer":
        parts: dict[str, Any] = {"mixer": mixing, "mlp": GeluMLP, "norm": nn.LayerNorm}
    else:
        mixer = attention if kind == "transformer" else [mixing, attention]
        norm = partial(RMSNorm, eps=1e-6)
        parts = {"mixer": mixer, "mlp": SwiGLU, "norm": norm, "final_norm": True, "weight_std": 0.02}
    return partial(Stack, width=width, layers=2, **parts | more)


def encoder(kind: str, *, width: int = WIDTH, taps: int = 1, **more: Any) -> Callable[..., StackEncoder]:
    """Factory (vocab=, length=) -> StackEncoder. more: of the encoder, such as memories and skip."""
    return partial(StackEncoder, stack=stack(kind, width=width, taps=taps), **more)


def decoder(kind: str, *, heads: int = 0, width: int = WIDTH, **more: Any) -> Callable[..., StackDecoder]:
    """Factory (vocab=, length=) -> StackDecoder. heads: of mixers, which are flat when published."""
    return partial(StackDecoder, stack=stack(kind, heads=heads, width=width), **more)


def causal_lm(kind: str, chunks: int = CHUNKS) -> CausalLM:
    return CausalLM(decoder=decoder(kind, heads=2), vocab=VOCAB, chunks=chunks, length=LENGTH)


def autoencoder(kind: str, *, memories: int = 1, repeat: bool = False, **more: Any) -> Autoencoder:
    """more: of the encoder."""
    return Autoencoder(
        encoder=encoder(kind, memories=memories, **more),
        decoder=decoder(kind, heads=2),
        bridge=RepeatBridge if repeat else UnrollBridge,
        vocab=VOCAB,
        length=LENGTH,
    )


def memory_model(
    kind: str,
    *,
    slots: str = "fixed",
    memories: int = 1,
    encoder_width: int = WIDTH,
    with_encoder: bool = True,
    fill: float = 0.5,
    heads: int = 0,
    encoder_kind: str | None = None,
    **more: Any,
) -> MemoryModel:
    """kind: of the decoder, and of the encoder unless `encoder_kind` is given. more: of the encoder."""
    of_encoder = encoder(encoder_kind or kind, width=encoder_width, memories=memories, **more)
    return MemoryModel(
        encoder=of_encoder if with_encoder else None,
        decoder=decoder(kind, heads=heads),
        vocab=VOCAB,
        chunks=CHUNKS,
        length=LENGTH,
        memories=memories,
        slots=slots,
        fill=fill,
    )


def oracle(
    kind: str,
    *,
    way: str = "token",
    memories: int = 1,
    encoder_width: int = WIDTH,
    with_encoder: bool = True,
    **more: Any,
) -> OracleMemoryModel:
    """more: of the encoder."""
    return OracleMemoryModel(
        encoder=encoder(kind, width=encoder_width, memories=memories, **more) if with_encoder else None,
        decoder=decoder(kind),
        vocab=VOCAB,
        chunks=CHUNKS,
        length=LENGTH,
        memories=memories,
        way=way,
    )


def recurrent(kind: str, *, detach_every: int = 0) -> RecurrentMemoryModel:
    """With a flat mixer, as in memory models."""
    return RecurrentMemoryModel(
        decoder=decoder(kind), vocab=VOCAB, chunks=CHUNKS, length=LENGTH, detach_every=detach_every
    )


def chunk_encoder(kind: str, **more: Any) -> ChunkEncoder:
    """more: of the encoder."""
    return ChunkEncoder(encoder=encoder(kind, **more), vocab=VOCAB, length=LENGTH)


def positions_computed(model: LanguageModel, run: Callable[[], Any]) -> int:
    """Positions that go through the first block's MLP of the decoder."""
    assert isinstance(model.decoder, StackDecoder)
    seen: list[int] = []
    hook = model.decoder.stack.blocks[0].mlp.register_forward_hook(lambda _, args, out: seen.append(out.shape[1]))
    run()
    hook.remove()
    return sum(seen)

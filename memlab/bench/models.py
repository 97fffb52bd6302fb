"""The models of the cases, with random weights."""

from functools import partial
from typing import Any

import torch
from torch import nn

from memlab.bench.cases import Case
from memlab.models import (
    Autoencoder,
    CausalAttention,
    CausalLM,
    GeluMLP,
    LanguageModel,
    MaskedMixing,
    MemoryModel,
    RecurrentMemoryModel,
    RMSNorm,
    Stack,
    StackDecoder,
    StackEncoder,
    SwiGLU,
    UnrollBridge,
)


def make_model(case: Case) -> LanguageModel:
    """Return the case's model, seeded: as conf/architecture has it, with flat mixers in decoders."""
    torch.manual_seed(0)
    size = case.size
    encoder = partial(StackEncoder, stack=_stack(case, size.heads))
    decoder = partial(StackDecoder, stack=_stack(case, 0))
    sizes: Any = {"vocab": size.vocab, "length": size.length}
    match case.model:
        case "autoencoder":
            as_encoder = partial(StackDecoder, stack=_stack(case, size.heads))
            return Autoencoder(encoder=encoder, decoder=as_encoder, bridge=UnrollBridge, **sizes)
        case "full_context":
            return CausalLM(decoder=decoder, chunks=size.chunks, **sizes)
        case "recurrent":
            return RecurrentMemoryModel(decoder=decoder, chunks=size.chunks, **sizes)
    assert case.model == "memory", case.model
    return MemoryModel(
        encoder=None if case.encoder == "none" else encoder,
        decoder=decoder,
        chunks=size.chunks,
        fill=0.0 if case.architecture == "mixer" else 1.0,
        **sizes,
    )


def _stack(case: Case, mixer_heads: int) -> Any:
    """Return a factory (length) -> Stack of the case's architecture."""
    shape = partial(Stack, width=case.size.width, layers=case.size.layers)
    if case.architecture == "mixer":
        return partial(shape, mixer=partial(MaskedMixing, heads=mixer_heads), mlp=GeluMLP, norm=nn.LayerNorm)
    norm = partial(RMSNorm, eps=1e-6)
    attention = partial(CausalAttention, heads=case.size.heads)
    return partial(shape, mixer=attention, mlp=SwiGLU, norm=norm, final_norm=True, weight_std=0.02)

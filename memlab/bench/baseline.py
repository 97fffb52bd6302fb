"""How the published drivers compute, in plain code of our own: what the fast path is measured against.

One encoder call and one decoder call per chunk in a Python loop, every chunk decoded though its labels are masked,
whole logits, two separate passes for the combined objective, mixer weights masked in place at every forward, a module
per head, the bridge's windows built position by position, and a frozen encoder that is frozen blocks behind a trainable
token embedding. The recurrent memory, too, is one decoder call per chunk, with memlab's slots: read slot | tokens |
write slot. Weights are copied from a memlab model, so that both give the same loss.
"""

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.models import (
    Autoencoder,
    Block,
    CausalAttention,
    CausalLM,
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
from memlab.objectives import IGNORE, Layout, Objective


class PlainModel(nn.Module):
    """A memlab model's weights behind the published way of computing. `loss` is that of memlab's objectives."""

    def __init__(self, model: LanguageModel, *, frozen: bool) -> None:
        super().__init__()
        self.kind = type(model)
        decoder = model.decoder
        assert isinstance(decoder, StackDecoder)
        self.encoder = PlainEncoder(model.encoder, frozen=frozen) if isinstance(model.encoder, StackEncoder) else None
        self.embedding = copy.deepcopy(decoder.embedding)
        self.stack = plain_stack(decoder.stack)
        self.head = copy.deepcopy(decoder.head)
        if isinstance(model, MemoryModel):
            self.layout = (model.chunks * model.memories, model.memories, model.fill)
            self.projection = copy.deepcopy(model.projection)
        elif isinstance(model, RecurrentMemoryModel):
            assert model.detach_every == 0, "the gradient goes back through all chunks"
            self.first_memory = copy.deepcopy(model.first_memory)
        elif isinstance(model, Autoencoder):
            assert isinstance(model.bridge, UnrollBridge)
            self.bridge = copy.deepcopy(model.bridge.projection)

    def loss(self, objective: Objective, tokens_BT: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Return mean nats of the objective, and the number of tokens predicted right."""
        total, correct, weights = tokens_BT.new_zeros((), dtype=torch.float32), tokens_BT.new_zeros(()), 0.0
        for table in objective.tables(tokens_BT, layout):
            nats, count = 0.0 * total, tokens_BT.new_zeros(())
            for whole, chunk_labels in zip(
                self.chunk_logits(table.inputs_BCL), table.labels_BCL.unbind(1), strict=True
            ):
                logits, labels = whole[:, : layout.length - objective.shift], chunk_labels[:, objective.shift :]
                nats = nats + F.cross_entropy(
                    logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="sum"
                )
                correct = correct + (logits.argmax(-1) == labels).sum()
                count = count + (labels != IGNORE).sum()
            total = total + table.weight * nats / count
            weights += table.weight
        return total / weights, correct

    def chunk_logits(self, inputs_BCL: Tensor) -> list[Tensor]:
        """Return whole logits (B, L, V) of every chunk."""
        chunks = inputs_BCL.unbind(1)
        if self.kind is Autoencoder:
            return [self.head(self.stack(self._unroll(self.memories(chunk)[:, 0]))) for chunk in chunks]
        assert self.embedding is not None
        if self.kind is CausalLM:
            features = self.stack(self.embedding(inputs_BCL.flatten(1)))
            return list(self.head(features).split(inputs_BCL.shape[2], dim=1))
        if self.kind is RecurrentMemoryModel:
            return self._recurrent_logits(chunks)
        slots, per_chunk, fill = self.layout
        found: list[Tensor] = []
        logits = []
        for place, chunk in enumerate(chunks):
            tokens = self.embedding(chunk)
            empty = tokens.new_full((len(chunk), slots - len(found) * per_chunk, tokens.shape[2]), fill)
            logits.append(self.head(self.stack(torch.cat((*found, empty, tokens), dim=1))[:, slots:]))
            if place < len(chunks) - 1:
                memories = empty[:, :per_chunk] if self.encoder is None else self.projection(self.memories(chunk))
                found.append(memories)
        return logits

    def _recurrent_logits(self, chunks: tuple[Tensor, ...]) -> list[Tensor]:
        assert self.embedding is not None
        memory = self.first_memory.repeat(len(chunks[0]), 1, 1)
        logits = []
        for chunk in chunks:
            out = self.stack(torch.cat((memory, self.embedding(chunk), memory), dim=1))
            logits.append(self.head(out[:, 1:-1]))
            memory = out[:, -1:]
        return logits

    def memories(self, chunk_BL: Tensor) -> Tensor:
        assert self.encoder is not None
        return self.encoder(chunk_BL)

    def _unroll(self, memory_BD: Tensor) -> Tensor:
        width = memory_BD.shape[1]
        doubled = torch.cat((memory_BD, memory_BD), dim=1)
        positions = [self.bridge(doubled[:, t % width : t % width + width // 2]) for t in range(self.stack_length)]
        return torch.stack(positions, dim=1)

    @property
    def stack_length(self) -> int:
        assert self.encoder is not None
        return self.encoder.length


class PlainEncoder(nn.Module):
    def __init__(self, encoder: StackEncoder, *, frozen: bool) -> None:
        super().__init__()
        assert encoder.memories == 1, "the published models have one memory per chunk"
        self.length = encoder.stack.length
        self.skip = encoder.skip
        self.embedding = copy.deepcopy(encoder.embedding).requires_grad_(True)
        self.stack = plain_stack(encoder.stack).requires_grad_(not frozen)
        self.compression = copy.deepcopy(encoder.compression).requires_grad_(not frozen)

    def forward(self, tokens_BL: Tensor) -> Tensor:
        end = tokens_BL.shape[1] - self.skip
        return self.compression(self.stack(self.embedding(tokens_BL))[:, end - 1 : end])


def plain_stack(stack: Stack) -> nn.Module:
    blocks = [cast(Block, block) for block in stack.blocks]
    if isinstance(blocks[0].mixer, MaskedMixing):
        return nn.Sequential(*[PlainMixerBlock(block) for block in blocks])
    return PlainTransformer(blocks, stack.norm)


class PlainMixerBlock(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        self.mixing_norm, self.mlp_norm, self.mlp = (
            copy.deepcopy(part) for part in (block.mixing_norm, block.mlp_norm, block.mlp)
        )
        mixer = cast(MaskedMixing, block.mixer)
        heads = mixer.weight_HKLL.shape[0]
        self.convolutions = nn.ModuleList(_convolution(mixer, head) for head in range(heads))
        self.headed = isinstance(mixer.project_in, nn.Linear)
        if isinstance(mixer.project_in, nn.Linear):
            self.project_in = nn.ModuleList(_rows(mixer.project_in, head, heads) for head in range(heads))
            self.project_out = copy.deepcopy(mixer.project_out)

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            weight = cast(Any, convolution).weight
            weight.data = torch.tril(weight.data.permute(2, 0, 1)).permute(1, 2, 0).contiguous()
        return self.compute(x)

    def compute(self, x: Tensor) -> Tensor:
        normed = self.mixing_norm(x)
        if self.headed:
            pairs = zip(self.project_in, self.convolutions, strict=True)
            mixed = self.project_out(torch.cat([mix(project(normed)) for project, mix in pairs], dim=-1))
        else:
            mixed = self.convolutions[0](normed)
        x = x + mixed
        return x + self.mlp(self.mlp_norm(x))


def compile_baseline(model: PlainModel) -> None:
    """Compile every block, as memlab does with its own; what masks a mixer's weights in place is no code to compile."""
    for block in model.modules():
        if isinstance(block, PlainTransformerBlock):
            block.compile()
        elif isinstance(block, PlainMixerBlock):
            block.compute = torch.compile(block.compute)  # type: ignore[method-assign]


def _convolution(mixer: MaskedMixing, head: int) -> nn.Conv1d:
    _, taps, length, _ = mixer.weight_HKLL.shape
    convolution = nn.Conv1d(length, length, taps, padding="same")
    assert convolution.bias is not None
    with torch.no_grad():
        convolution.weight.copy_(mixer.weight_HKLL[head].permute(1, 2, 0))
        convolution.bias.copy_(mixer.bias_HL[head])
    return convolution


def _rows(linear: nn.Linear, part: int, parts: int) -> nn.Linear:
    """Return one share of a linear's outputs as a linear of its own."""
    size = linear.out_features // parts
    share = nn.Linear(linear.in_features, size, bias=linear.bias is not None)
    with torch.no_grad():
        share.weight.copy_(linear.weight[part * size : (part + 1) * size])
        if linear.bias is not None:
            share.bias.copy_(linear.bias[part * size : (part + 1) * size])
    return share


class PlainTransformer(nn.Module):
    def __init__(self, blocks: list[Block], norm: nn.Module) -> None:
        super().__init__()
        attention = cast(CausalAttention, blocks[0].mixer)
        self.head_width = attention.width // attention.heads
        self.theta = attention.theta
        self.blocks = nn.ModuleList(PlainTransformerBlock(block) for block in blocks)
        self.norm = PlainRMSNorm(norm)

    def forward(self, x: Tensor) -> Tensor:
        frequency = self.theta ** (-torch.arange(0, self.head_width, 2, device=x.device) / self.head_width)
        angle = torch.arange(x.shape[1], device=x.device)[:, None] * frequency
        angle = torch.cat((angle, angle), dim=-1)
        for block in self.blocks:
            x = block(x, angle.cos(), angle.sin())
        return self.norm(x)


class PlainTransformerBlock(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        attention, mlp = cast(CausalAttention, block.mixer), cast(SwiGLU, block.mlp)
        self.heads = attention.heads
        self.attention_norm, self.mlp_norm = PlainRMSNorm(block.mixing_norm), PlainRMSNorm(block.mlp_norm)
        self.query, self.key, self.value = (_rows(attention.query_key_value, part, 3) for part in range(3))
        self.gate, self.up = (_rows(mlp.gate_up, part, 2) for part in range(2))
        self.attention_out, self.down = copy.deepcopy(attention.out), copy.deepcopy(mlp.down)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rows, positions, width = x.shape
        normed = self.attention_norm(x)
        q, k, v = (
            part(normed).view(rows, positions, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        q, k = (part * cos + _turned(part) * sin for part in (q, k))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(rows, positions, width))
        normed = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


def _turned(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


class PlainRMSNorm(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        assert isinstance(norm, RMSNorm)
        self.weight = copy.deepcopy(norm.weight)
        assert norm.eps is not None
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))

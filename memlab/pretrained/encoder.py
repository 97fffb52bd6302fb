"""A pretrained language model as an encoder, frozen whole (shapes: see memlab/models/base.py)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models import Encoder
from memlab.models.base import require_positive
from memlab.pretrained.body import make_body, mask_on

READS = ("last", "mean")


class PretrainedEncoder(Encoder):
    """Memories are vectors of the last layer at the last M positions, or their mean over all positions.

    weights: {"name", "revision", "sha256"} of the model's files. read: "last" or "mean" (M = 1).
    layer: read after the first n layers, without the final norm; None: after all, with it. All layers are computed.
    untrained: None: the model's weights; a seed: random ones of the same shape, which the seed gives.
    dtype: of the weights, float32 or bfloat16; memories are in the dtype of the model around.
    All weights are borrowed: no checkpoint and no run folder has them. Dropout is off, also in training.
    Raises UserError where the files are not at hand or are others, and for values that do not fit the model.
    """

    def __init__(
        self,
        *,
        vocab: int,
        length: int,
        weights: Mapping[str, Any],
        memories: int = 1,
        read: str = "last",
        layer: int | None = None,
        untrained: int | None = None,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        require_positive(memories=memories)
        if read not in READS:
            raise UserError(f"read={read!r}: choose one of {', '.join(READS)}.")
        if memories > (length if read == "last" else 1):
            raise UserError(f"memories={memories}: read={read} of {length} tokens gives fewer.")
        with torch.random.fork_rng(devices=[], enabled=untrained is not None):
            if untrained is not None:
                torch.manual_seed(untrained)
            random = untrained is not None
            self.body: Any = make_body(weights, "AutoModel", vocab=vocab, length=length, dtype=dtype, random=random)
        self.body.requires_grad_(False)
        config = self.body.config
        if layer is not None and not 1 <= layer <= config.num_hidden_layers:
            raise UserError(f"layer={layer}: choose 1 to {config.num_hidden_layers}, or null for all.")
        self.width = int(config.hidden_size)
        self.memories = memories
        self.memory_floats = memories * self.width
        self.read = read
        self.layer = layer
        self.borrowed = frozenset(self.state_dict())
        self.register_buffer("like", torch.zeros(()), persistent=False)  # follows the model around from dtype to dtype
        self.body.eval()

    @property
    def embedding(self) -> nn.Module:  # type: ignore[override]
        table: nn.Module = self.body.get_input_embeddings()
        return table

    def forward(self, tokens_RL: Tensor) -> Tensor:
        with torch.no_grad():
            mask = mask_on(tokens_RL.device, tokens_RL.shape[1])
            out = self.body(input_ids=tokens_RL, output_hidden_states=self.layer is not None, **mask)
            hidden_RLD = out.last_hidden_state if self.layer is None else out.hidden_states[self.layer]
            read_RMD = hidden_RLD[:, -self.memories :] if self.read == "last" else hidden_RLD.mean(1, keepdim=True)
        return read_RMD.to(self.like.dtype)

    def freeze(self, what: bool | str) -> None:
        """Do nothing: the encoder is frozen. Raises UserError unless `what` is True."""
        if what is not True:
            raise UserError(f"encoder.freeze={what}: a pretrained encoder is frozen whole; set encoder.freeze=true")

    def train(self, mode: bool = True) -> "PretrainedEncoder":
        super().train(mode)
        self.body.eval()
        return self

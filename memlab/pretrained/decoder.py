"""A pretrained causal language model as a decoder (shapes: see memlab/models/base.py)."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from memlab.errors import UserError
from memlab.models import Decoder
from memlab.models.base import require_positive
from memlab.pretrained.body import make_body, mask_on, width_of

TRAINED = ("full", "frozen", "lora")
# What stands between the head and the logits in some models; the loss here reads the head alone.
_BEHIND_THE_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class PretrainedDecoder(Decoder):
    """Memories and tokens come in as vectors (`inputs_embeds`); step by step, the model's own cache keeps the past.

    length: positions of the longest pass. weights: {"name", "revision", "sha256"} of the model's files.
    train: "full", all weights; "frozen", none; "lora", updates of rank `rank` of all linear maps but the head, which
        count alpha / rank. What is not trained is borrowed: no checkpoint and no run folder has it.
    untrained: random weights of the same shape, which are trained; with train="full" alone.
    gradient_checkpointing: compute activations again in the backward pass.
    dtype: of the weights, float32 or bfloat16. reads_tokens: unused; the token table is there in any case.
    Raises UserError where the files are not at hand or are others, and for a model that is more than a token table, a
    body and a head without bias.
    """

    def __init__(
        self,
        *,
        vocab: int,
        length: int,
        weights: Mapping[str, Any],
        train: str = "full",
        rank: int = 8,
        alpha: int = 16,
        untrained: bool = False,
        gradient_checkpointing: bool = False,
        dtype: str = "float32",
        reads_tokens: bool = True,
    ) -> None:
        super().__init__()
        if train not in TRAINED:
            raise UserError(f"train={train!r}: choose one of {', '.join(TRAINED)}.")
        require_positive(rank=rank)
        if untrained and train != "full":
            raise UserError(f"untrained=true with train={train}: random weights are trained, train=full.")
        whole = make_body(weights, "AutoModelForCausalLM", vocab=vocab, length=length, dtype=dtype, random=untrained)
        _require_plain(whole, weights["name"])
        self.body: Any = whole.base_model
        self.head = whole.get_output_embeddings()
        self.width = self.head.in_features
        self.embedding_std = float(getattr(whole.config, "initializer_range", 0.02))
        tied = self.head.weight is self.body.get_input_embeddings().weight
        if train != "full":
            self.requires_grad_(False)
        if train == "lora":
            from peft import LoraConfig, inject_adapter_in_model

            updates = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear")
            inject_adapter_in_model(updates, self.body)
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        names = set(self.state_dict())
        self.borrowed = frozenset({"head.weight"} & names if train == "full" and tied else ())
        if train != "full":
            self.borrowed = frozenset(names - trained)
        if gradient_checkpointing:
            self.body.activation_checkpointing_enable()

    def embed(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self.body.get_input_embeddings()(tokens)
        return vectors

    def forward(self, x_RTD: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        mask = mask_on(x_RTD.device, x_RTD.shape[1])
        out_RTD: Tensor = self.body(inputs_embeds=x_RTD, use_cache=False, **mask).last_hidden_state
        return out_RTD[:, start:stop]

    def begin(self, rows: int) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self.body.config)

    def snapshot(self, state: Any) -> Any:
        return deepcopy(state)  # the cache's layers change in place

    def step(self, x_RtD: Tensor, state: Any) -> Tensor:
        out_RtD: Tensor = self.body(inputs_embeds=x_RtD, cache=state, use_cache=True).last_hidden_state
        return out_RtD

    def state_size(self, length: int) -> int:
        config = self.body.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * heads * size * length)


def _require_plain(whole: Any, name: str) -> None:
    """Raise UserError for a model whose logits are more than its head times what its body gives."""
    head, config = whole.get_output_embeddings(), whole.config
    if not isinstance(head, nn.Linear) or head.bias is not None:
        raise UserError(f"{name}: its head is no linear map without bias, which memlab's losses need")
    if head.in_features != width_of(whole):
        raise UserError(f"{name}: its token vectors and its head differ in width")
    behind = [key for key in _BEHIND_THE_HEAD if getattr(config, key, None) not in (None, 1.0)]
    if behind:
        raise UserError(f"{name}: {behind[0]} changes its logits behind the head, which memlab's losses do not do")

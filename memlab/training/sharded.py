"""Fully sharded data parallel training (FSDP), with checkpoints for any number of devices."""

from typing import Any

from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    FullyShardedDataParallel as FSDP,
    OptimStateKeyType,
    StateDictType,
)

from memlab.models import Block


class ShardedStrategy(FSDPStrategy):
    """FSDP with blocks as units: one block at a time is gathered whole.

    Checkpoints hold whole weights and optimizer states, for any number of devices to resume from. They are read through
    SealedCheckpointIO: Lightning would read them by an unpickler that runs code.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(auto_wrap_policy={Block}, state_dict_type="full", use_orig_params=True, **options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Load weights and optimizer state on every rank; Lightning takes the rest from what is returned."""
        checkpoint: dict[str, Any] = self.checkpoint_io.load_checkpoint(checkpoint_path, weights_only=True)
        model, (optimizer,), (state,) = self.model, self.optimizers, checkpoint["optimizer_states"]
        assert model is not None
        whole = FullStateDictConfig(rank0_only=False), FullOptimStateDictConfig(rank0_only=False)
        with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, *whole):
            model.load_state_dict(checkpoint.pop("state_dict"))
            by_name = FSDP.rekey_optim_state_dict(
                _numbered(state), OptimStateKeyType.PARAM_NAME, model, optim=optimizer
            )
            optimizer.load_state_dict(FSDP.optim_state_dict_to_load(model, optimizer, by_name))
        return checkpoint


def _numbered(state: dict[str, Any]) -> dict[str, Any]:
    """Return an optimizer's state with its weights numbered from 0 without gaps: FSDP counts frozen ones, too."""
    numbers = sorted(number for group in state["param_groups"] for number in group["params"])
    new = {number: place for place, number in enumerate(numbers)}
    groups = [{**group, "params": [new[number] for number in group["params"]]} for group in state["param_groups"]]
    return {"state": {new[number]: of for number, of in state["state"].items()}, "param_groups": groups}

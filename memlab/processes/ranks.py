"""Processes that train one model together: which of them this is, and what all of them agree on.

With a single process every function returns its input unchanged. SLURM (srun) and torchrun start processes;
memlab/processes/spawn.py does so on a single machine. Files are written and decisions taken by rank 0.
"""

import os
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from memlab.errors import UserError
from memlab.progress import console

Value = TypeVar("Value")
Number = TypeVar("Number", int, float)
# Other ranks wait in `agreed` while the first waits for another job's lock.
PATIENCE = timedelta(days=14)
_group: Any = None  # gloo, whatever trains: agreements are on the CPU, and no device waits for them


def rank() -> int:
    return int(os.environ.get("RANK", "0")) if world() > 1 else 0


def world() -> int:
    """Processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    return rank() == 0


def silence_others() -> None:
    """Only rank 0 talks."""
    console.quiet = not is_first()


def adopt_slurm(wanted: int) -> None:
    """Makes the tasks of an srun with `wanted` > 1 tasks known as ranks, under torchrun's names.

    Raises UserError where there are several tasks and other than wanted.
    """
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks == 1 or "RANK" in os.environ:
        return
    if tasks != wanted:
        raise UserError(
            f"srun started {tasks} tasks, but trainer.devices times trainer.nodes is {wanted}: give a task per device"
        )
    from lightning.fabric.plugins.environments import SLURMEnvironment

    slurm = SLURMEnvironment(auto_requeue=False)
    os.environ.update(
        RANK=str(slurm.global_rank()),
        LOCAL_RANK=str(slurm.local_rank()),
        GROUP_RANK=str(slurm.node_rank()),
        WORLD_SIZE=str(tasks),
        MASTER_ADDR=slurm.main_address,
        MASTER_PORT=str(slurm.main_port),
    )


def join(on_gpu: bool) -> None:
    """Connects the ranks; does nothing for one process, or a second time. Raises UserError for too few GPUs."""
    global _group  # noqa: PLW0603 (a process has one)
    if world() == 1 or _group is not None:
        return
    import torch

    if on_gpu:
        device, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if device >= found:
            raise UserError(f"a GPU for every process cannot be had here, there are {found}: lower trainer.devices")
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    _group = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)


def agreed(value: Value) -> Value:
    """Rank 0's value, on every rank; those of the others are ignored."""
    if _group is None:
        return value
    import torch

    values = [value]
    torch.distributed.broadcast_object_list(values, src=0, group=_group)
    return values[0]


def largest(value: Number) -> Number:
    """The largest of all ranks' values, on every rank."""
    if _group is None:
        return value
    import torch

    number = torch.tensor(value)
    torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX, group=_group)
    return type(value)(number.item())


def wait_for_first() -> None:
    """At the end of a rank that was told to stop: what starts ranks ends them all when one has ended.

    Rank 0 has more to do until then, such as sending its rows.
    """
    with suppress(RuntimeError):  # of gloo, if rank 0 is gone already
        agreed(None)

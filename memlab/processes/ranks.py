"""Ranks: the processes that train one model together.

SLURM (srun) or torchrun starts them; on a single machine, memlab/processes/spawn.py does. Rank 0 writes the files and
takes the decisions. With a single process every function returns its input unchanged.
"""

import atexit
import os
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from memlab.errors import UserError
from memlab.progress import console

Value = TypeVar("Value")
Number = TypeVar("Number", int, float)
# The other ranks wait in `agreed` while rank 0 waits for a lock that another job holds.
PATIENCE = timedelta(days=14)
_group: Any = None  # gloo, also where GPUs train: agreements happen on the CPU, and no device waits for them


def rank() -> int:
    """Return this process's number among those that train together: 0, 1, ..."""
    return int(os.environ.get("RANK", "0")) if world() > 1 else 0


def world() -> int:
    """Return the number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    return rank() == 0


def silence_others() -> None:
    """Let only rank 0 print."""
    console.quiet = not is_first()


def adopt_slurm(wanted: int) -> None:
    """Translate SLURM's variables of an srun with several tasks into those of torchrun, which name the ranks.

    Do nothing for a single task, or where torchrun has set its variables. Raises UserError if srun started several
    tasks and their number is not `wanted`.
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
    """Connect the ranks. Comes before the first agreement; a second call does nothing, nor does a single process.

    Raises UserError if this machine has fewer GPUs than ranks and `on_gpu` is true.
    """
    global _group  # noqa: PLW0603 (a process has one)
    if world() == 1 or _group is not None:
        return
    import torch

    if on_gpu:
        device, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if device >= found:
            raise UserError(
                f"every process needs a GPU of its own, but this machine has {found}: lower trainer.devices"
            )
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    _group = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
    atexit.register(torch.distributed.destroy_process_group)  # gloo's threads can abort a process that ends with them


def agreed(value: Value) -> Value:
    """Return rank 0's value on every rank; the values of the others are ignored."""
    if not _connected():
        return value
    import torch

    values = [value]
    torch.distributed.broadcast_object_list(values, src=0, group=_group)
    return values[0]


def largest(value: Number) -> Number:
    """Return the largest value of all ranks on every rank."""
    if not _connected():
        return value
    import torch

    number = torch.tensor(value)
    torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX, group=_group)
    return type(value)(number.item())


def wait_for_first() -> None:
    """Wait, at the end of a rank that was told to stop, until rank 0 gets here too.

    Whatever started the ranks ends all of them as soon as one has ended, and rank 0 has more to do, such as sending
    its last rows. Does nothing before `join`.
    """
    if _group is not None:
        with suppress(RuntimeError):  # gloo raises it if rank 0 has already ended
            agreed(None)


def _connected() -> bool:
    """Whether there are several ranks. Without this check, ranks that have not joined would silently disagree."""
    if world() == 1:
        return False
    assert _group is not None, "ranks.join comes before the first agreement"
    return True

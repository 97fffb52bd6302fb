"""Bytes of tensors: at the peak of a computation, and in the state of decoding."""

import os
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

_ALLOCATION = "[memory]"  # the profiler's name for an event of torch's allocator
_QUIET = ("KINETO_LOG_LEVEL", "6")  # else the profiler writes lines of its own to standard error


def peak_bytes(run: Callable[[], Any], device: str) -> int:
    """Run something; return the bytes that it had in use at its peak, beyond those in use before.

    Counted is what torch allocates: on a CPU every allocation and release that torch's profiler records, temporary
    arrays within an operation included; on a GPU what torch.cuda counts. Not counted are the interpreter, libraries'
    own buffers and gaps between arrays, so that equal runs give equal numbers.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated()) - before
    os.environ.setdefault(*_QUIET)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == _ALLOCATION]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def tensor_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of distinct tensors; of those that share their memory the largest one counts."""
    found: dict[int, int] = {}
    for tensor in tensors:
        place = tensor.untyped_storage().data_ptr() if tensor.numel() else 0
        found[place] = max(found.get(place, 0), tensor.numel() * tensor.element_size())
    return sum(found.values())


def state_bytes(state: Any) -> int:
    """Return the bytes of all tensors in the state of step-by-step decoding: dictionaries, lists and dataclasses."""
    return tensor_bytes(_tensors(state))


def _tensors(state: Any) -> Iterable[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        for part in state.values():
            yield from _tensors(part)
    elif isinstance(state, list | tuple):
        for part in state:
            yield from _tensors(part)
    elif is_dataclass(state):
        for field in fields(state):
            yield from _tensors(getattr(state, field.name))

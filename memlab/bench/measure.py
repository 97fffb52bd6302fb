"""Seconds of both sides, alternating in one process; peak memory of each side in a process of its own."""

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from memlab.bench.cases import Case, Size
from memlab.bench.models import make_model
from memlab.bench.sides import SIDES, Baseline, Memlab, Side
from memlab.processes.cpu import map_every_array
from memlab.training.peak import product_rate

Row = dict[str, Any]
PAGE = 4096  # bytes


def measure(
    case: Case, phases: list[str], *, repetitions: int, against_baseline: bool, memory: bool, tick: Callable[[], None]
) -> list[Row]:
    """Return a row per phase. `tick` is called after every repetition."""
    sides: dict[str, Side] = {"memlab": Memlab(case, make_model(case))}
    if against_baseline:
        sides["baseline"] = Baseline(replace(case, compile=False), make_model(case))
        if case.compile:
            sides["compiled_baseline"] = Baseline(case, make_model(case))
    tokens = case.size.batch * sides["memlab"].batches[0].shape[1]
    peaks = {name: peak_memory(case, name, phases) for name in SIDES if memory and name in sides}
    rows = []
    for phase in phases:
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        rates = []
        for side in sides.values():
            for number in range(4 if case.encoder == "frozen_cached" else 2):
                _run(side, phase, number)
            _wait(case.device)
        for number in range(repetitions):
            rates.append(peak_rate(case))
            for name, side in sides.items():
                start = time.perf_counter()
                _run(side, phase, number)
                _wait(case.device)
                seconds[name].append(time.perf_counter() - start)
            tick()
        operations = count_operations(case, phase)
        median = statistics.median(seconds["memlab"])
        peak = statistics.median(rates)
        row: Row = {
            **case.row,
            "phase": phase,
            "seconds": median,
            "tokens_per_s": tokens / median,
            "flops": operations,
            "matmul_flops_per_s": peak,
            "matmul_share": operations / median / peak,
            "peak_bytes": None,
        }
        for name in seconds.keys() - {"memlab"}:
            ratios = [b / m for b, m in zip(seconds[name], seconds["memlab"], strict=True)]
            prefix = name.removesuffix("baseline")
            row |= {
                f"{name}_seconds": statistics.median(seconds[name]),
                f"{prefix}speedup_median": statistics.median(ratios),
                f"{prefix}speedup_min": min(ratios),
                f"{prefix}speedup_max": max(ratios),
            }
        if memory:
            row |= _memory_columns(peaks, phase)
        rows.append(row)
    return rows


def _memory_columns(peaks: dict[str, Any], phase: str) -> Row:
    names = ("peak", "activation")
    found = {f"{name}_bytes": peaks["memlab"][phase][name] for name in names}
    if "baseline" in peaks:
        found |= {f"baseline_{name}_bytes": peaks["baseline"][phase][name] for name in names}
        found |= {f"{name}_ratio": found[f"{name}_bytes"] / found[f"baseline_{name}_bytes"] for name in names}
    return found


def _run(side: Side, phase: str, number: int) -> None:
    match phase:
        case "forward":
            side.logits(number)
        case "forward_backward":
            side.gradients(number)
        case "step":
            side.step(number)
        case "evaluate":
            side.evaluate(number)


def count_operations(case: Case, phase: str) -> int:
    """Return the operations of the matrix products of one batch in a phase, as torch counts them: 2 per multiply-add.

    Attention is counted as whole products, the mask's zeros included. torch has no count of the CPU's fused kernel, so
    plain products are computed there; on a GPU their scores would not fit.
    """
    plain = replace(case, compile=False)
    side = Memlab(plain, make_model(plain))
    if case.encoder == "frozen_cached":
        side.evaluate(0)  # fills the cache
    attention = sdpa_kernel(SDPBackend.MATH) if case.device == "cpu" else nullcontext()
    with attention, FlopCounterMode(display=False) as counter:
        _run(side, phase, 0)
    return counter.get_total_flops()


def peak_rate(case: Case) -> float:
    """Return operations per second of the two products that most of a step is, MLP and head, at their shapes."""
    size = case.size
    dtype = torch.bfloat16 if case.autocast else torch.float32
    rows = max(1, size.chunks // 2) * size.batch * size.length
    wide = (4 * size.width, size.vocab)
    return max(product_rate((rows, size.width, columns), case.device, dtype) for columns in wide)


def peak_memory(case: Case, side: str, phases: list[str]) -> dict[str, dict[str, int]]:
    """Return, by phase, bytes at the peak, and how many of them the phase added (activations, gradients)."""
    argument = json.dumps({**asdict(case), "side": side, "phases": phases})
    child = subprocess.run(
        [sys.executable, "-m", "memlab.bench.measure", argument], check=True, capture_output=True, text=True
    )
    peaks: dict[str, dict[str, int]] = json.loads(child.stdout.splitlines()[-1])
    return peaks


def _child(argument: str) -> None:
    values = json.loads(argument)
    side_name, phases = values.pop("side"), values.pop("phases")
    case = Case(**{**values, "size": Size(**values["size"])})
    (torch.ones(64, 64) @ torch.ones(64, 64)).sum().item()  # what the first product loads is not part of the model
    map_every_array()
    before = _resident()
    side = SIDES[side_name](case, make_model(case))
    side.step(0)  # makes the optimizer's state
    peaks = {}
    for phase in phases:
        for parameter in side.parameters:
            parameter.grad = None
        gc.collect()
        _reset_peak(case.device)
        held = torch.cuda.memory_allocated() if case.device == "cuda" else _resident() - before
        _run(side, phase, 1)
        peak = _peak(case.device) - (0 if case.device == "cuda" else before)
        # The system counts in pages: a phase that needs less takes one.
        peaks[phase] = {"peak": max(peak, PAGE), "activation": max(peak - held, PAGE)}
    print(json.dumps(peaks))


def _reset_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # other systems than Linux give the peak of the whole run
            Path("/proc/self/clear_refs").write_text("5")


def _peak(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return _status("VmHWM")


def _resident() -> int:
    return _status("VmRSS")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} in /proc/self/status: peak memory is measured on Linux only, use --no-memory")


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    _child(sys.argv[1])

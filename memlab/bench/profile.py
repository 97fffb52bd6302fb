"""What a training step spends its time on, with one thread: python -m memlab.bench.profile [GROUP=OPTION KEY=VALUE].

A row per architecture and objective, at laptop scale unless the overrides (of memlab.run) say more: milliseconds of a
step without the profiler, and the shares of kinds of operations in the time that torch's profiler counts.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import product

import torch
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from memlab.bench.cases import ARCHITECTURES
from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.config.stage import Stage
from memlab.errors import fail
from memlab.processes.cpu import prepare_cpu
from memlab.progress import Bars, console
from memlab.storage.provenance import hardware
from memlab.training.pace import step_of

OBJECTIVES = {
    "autoencode": ["encoder=frozen_autoencoder", "curriculum=none"],
    "clm, no memory": ["encoder=none", "objective=clm"],
    "clm": ["encoder=trainable", "objective=clm"],
    "copy": ["encoder=trainable", "objective=copy"],
    "copy, frozen encoder": ["encoder=frozen_autoencoder", "objective=copy"],
    "blank copy, frozen encoder": ["encoder=frozen_autoencoder", "objective=blank_copy"],
    "combined": ["encoder=trainable", "objective=combined"],
}
# Parts of the names of operations; the first that fits counts.
KINDS = {
    "matrix products": ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"),
    "attention": ("attention",),
    "activations": ("gelu", "silu", "aten::mul"),
    "norms": ("layer_norm", "Normalize", "vector_norm", "rsqrt", "aten::mv", "addmv"),
    "optimizer, clipping": ("adam", "norm", "foreach"),
    "copies": ("copy_", "cat", "fill_", "empty", "clone", "zero"),
}
STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m memlab.bench.profile", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="as of memlab.run")
    given = parser.parse_args().overrides
    torch.set_num_threads(1)
    prepare_cpu()
    table = Table("architecture", "objective", "ms per step", *KINDS, "other")
    try:
        with Bars() as bars:
            bar = bars.bar("profile", len(ARCHITECTURES) * len(OBJECTIVES))
            for architecture, objective in product(ARCHITECTURES, OBJECTIVES):
                words = [f"architecture={architecture}", *OBJECTIVES[objective], *given]
                (chain,) = plan_all(compose_sweep(words).configs)
                milliseconds, shares = measured(chain.jobs[-1].stage)
                cells = [f"{share:.0%}" for share in shares.values()]
                table.add_row(architecture, objective, f"{milliseconds:.1f}", *cells)
                bar.update(bar.done + 1, f"{architecture} {objective}")
    except Exception as error:
        fail(error, 2)
    console.print(table)
    console.print(f"{hardware()}, 1 thread", markup=False)


def measured(stage: Stage, steps: int = STEPS) -> tuple[float, dict[str, float]]:
    """Return the median milliseconds of a step, and each kind's share of the profiled time."""
    step = step_of(stage)
    step()
    seconds = statistics.median(_seconds(step) for _ in range(steps))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(steps):
            step()
    by_kind = dict.fromkeys([*KINDS, "other"], 0.0)
    for event in profiler.key_averages():
        by_kind[kind_of(event.key)] += event.self_cpu_time_total
    whole = sum(by_kind.values())
    return 1000 * seconds, {kind: time_ / whole for kind, time_ in by_kind.items()}


def kind_of(operation: str) -> str:
    """Return the kind of an operation by its name in the profile."""
    return next((kind for kind, parts in KINDS.items() if any(part in operation for part in parts)), "other")


def _seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

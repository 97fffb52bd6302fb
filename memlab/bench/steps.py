"""What each step of the fast path is worth: the training step with it and with that step alone undone, by turns.

python -m memlab.bench.steps [--repetitions 7]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.bench.cases import ARCHITECTURES, Case, Size
from memlab.bench.sides import Memlab, make_model
from memlab.models import MixerStack, Stack, TransformerStack
from memlab.objectives import IGNORE, memories, scoring
from memlab.processes.cpu import LARGEST_MMAP_THRESHOLD, keep_freed_memory, prepare_cpu
from memlab.progress import Bars, console
from memlab.storage.provenance import hardware

OBJECTIVES = ("clm", "copy", "blank_copy", "combined")


@contextmanager
def every_chunk_by_itself() -> Iterator[None]:
    """Chunks of equal content are embedded again, those that two passes share for each."""

    def apart(table: Any, place: int) -> list[Any]:
        return [(place, chunk) for chunk in range(table.scored.stop - 1)]

    with mock.patch.object(memories, "_contents", apart):
        yield


@contextmanager
def whole_last_block() -> Iterator[None]:
    """An encoder's last block computes all positions."""
    with ExitStack() as stack:
        for kind in (MixerStack, TransformerStack):
            stack.enter_context(mock.patch.object(kind, "at", Stack.at))
        yield


@contextmanager
def whole_logits() -> Iterator[None]:
    """Logits of all scored positions at once, kept for the gradient."""

    def plain(head: nn.Linear, hidden_PD: Tensor, labels_P: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = head(hidden_PD)
        loss_P = F.cross_entropy(logits.float(), labels_P, ignore_index=IGNORE, reduction="none")
        return loss_P.sum() / (labels_P != IGNORE).sum(), loss_P.detach(), logits.detach().argmax(-1) == labels_P

    with mock.patch.object(scoring, "head_loss", plain):
        yield


@contextmanager
def freed_memory_returned() -> Iterator[None]:
    """The thresholds that glibc's own ones grow to in a process that frees large arrays."""
    keep_freed_memory(trim_threshold=2 * LARGEST_MMAP_THRESHOLD)
    yield
    keep_freed_memory()


UNDONE: dict[str, Callable[[], Any]] = {
    "distinct chunks embedded once": every_chunk_by_itself,
    "last encoder block at the memory alone": whole_last_block,
    "head and loss in pieces": whole_logits,
    "freed memory kept": freed_memory_returned,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m memlab.bench.steps", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    repetitions = parser.parse_args().repetitions
    prepare_cpu()
    cases = [Case(Size(), kind, objective, "trainable") for kind in ARCHITECTURES for objective in OBJECTIVES]
    table = Table("step of the fast path", *(f"{case.architecture} {case.objective}" for case in cases))
    cells: dict[str, list[str]] = {name: [] for name in UNDONE}
    with Bars() as bars:
        bar = bars.bar("steps", len(cases) * repetitions)
        for case in cases:
            side = Memlab(case, make_model(case))
            side.step(0)
            ratios: dict[str, list[float]] = {name: [] for name in UNDONE}
            for number in range(repetitions):
                fast = _seconds(side, number)
                for name, undo in UNDONE.items():
                    with undo():
                        ratios[name].append(_seconds(side, number) / fast)
                bar.update(bar.done + 1, case.name)
            for name, values in ratios.items():
                cells[name].append(f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})")
    for name, row in cells.items():
        table.add_row(name, *row)
    console.print(table)
    console.print(f"seconds without the step / seconds with it; {hardware()}, {torch.get_num_threads()} threads")


def _seconds(side: Memlab, number: int) -> float:
    start = time.perf_counter()
    side.step(number)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

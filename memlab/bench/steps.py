"""What each part of the fast path is worth: a training step with all parts, and with one undone, alternating.

python -m memlab.bench.steps [--repetitions 7]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.bench.cases import ARCHITECTURES, Case, Size
from memlab.bench.models import make_model
from memlab.bench.sides import Memlab
from memlab.models import StackEncoder
from memlab.objectives import IGNORE, memories, scoring
from memlab.processes.cpu import LARGEST_MMAP_THRESHOLD, keep_freed_memory, prepare_cpu
from memlab.progress import Bars, console
from memlab.storage.provenance import hardware

OBJECTIVES = ("clm", "copy", "blank_copy", "combined")


@contextmanager
def every_chunk_by_itself() -> Iterator[None]:
    """Embed chunks of equal content again, also those that two passes share."""

    def apart(model: Any, table: Any) -> dict[int, str]:
        return {chunk: f"{table.name} {chunk}" for chunk in model.reads(table.scored)}

    with mock.patch.object(memories, "names_read", apart):
        yield


@contextmanager
def whole_last_block() -> Iterator[None]:
    """Let an encoder's last block compute all positions."""

    def whole(encoder: StackEncoder, tokens_RL: Tensor) -> Tensor:
        end = tokens_RL.shape[1] - encoder.skip
        features_RLD = encoder.stack(encoder.embedding(tokens_RL))
        return encoder.compression(features_RLD[:, end - encoder.memories : end])

    with mock.patch.object(StackEncoder, "forward", whole):
        yield


@contextmanager
def whole_logits() -> Iterator[None]:
    """Compute logits of all scored positions at once, and keep them for the gradient."""

    def plain(head: nn.Linear, hidden_PD: Tensor, labels_P: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = head(hidden_PD)
        loss_P = F.cross_entropy(logits.float(), labels_P, ignore_index=IGNORE, reduction="none")
        return loss_P.sum() / (labels_P != IGNORE).sum(), loss_P.detach(), logits.detach().argmax(-1) == labels_P

    with mock.patch.object(scoring, "head_loss", plain):
        yield


@contextmanager
def freed_memory_returned() -> Iterator[None]:
    """Set the thresholds that glibc's own grow to in a process that frees large arrays."""
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
    table = Table("part of the fast path", *(f"{case.architecture} {case.objective}" for case in cases))
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
    console.print(f"seconds without the part / seconds with it; {hardware()}, {torch.get_num_threads()} threads")


def _seconds(side: Memlab, number: int) -> float:
    start = time.perf_counter()
    side.step(number)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

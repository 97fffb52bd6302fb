"""Batches of windows. A batch depends on (seed, place of the stage in its chain, number of the batch) alone."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from memlab.data.prepare import Prepared
from memlab.errors import UserError
from memlab.processes.signals import leave_to_parent


class Windows:
    """The windows of a split, numbered from 0.

    tokens: all tokens of the split (N,). window: tokens per window, T. ends: None for packed windows, which lie on a
    fixed grid and may span two documents. For padded ones, where each document ends in `tokens` (documents,): each
    window is the front of one document, filled with `blank` behind a shorter one. No text contains `blank`, so an
    objective knows these places and does not score them.
    """

    def __init__(self, tokens: np.ndarray, window: int, ends: np.ndarray | None = None, blank: int = 0) -> None:
        self.tokens = tokens
        self.window = window
        self.ends = ends
        self.blank = blank

    @classmethod
    def of(cls, prepared: Prepared, split: str, window: int) -> "Windows":
        """Return the windows of a prepared corpus, packed or padded as its source asks."""
        ends = prepared.ends(split) if prepared.windows == "padded" else None
        return cls(prepared.tokens(split), window, ends, prepared.blank)

    def __len__(self) -> int:
        return len(self.tokens) // self.window if self.ends is None else len(self.ends)

    def take(self, numbers: Sequence[int] | np.ndarray) -> Tensor:
        """Return the token ids of some windows, (len(numbers), T) int64."""
        taken = np.full((len(numbers), self.window), self.blank, np.int64)
        for row, number in enumerate(map(int, numbers)):
            start, end = self._place(number)
            taken[row, : end - start] = self.tokens[start:end]
        return torch.from_numpy(taken)

    def require(self, needed: int, split: str) -> None:
        """Raise UserError for fewer than `needed` windows."""
        if len(self) >= needed:
            return
        has = f"{len(self.tokens):,} tokens" if self.ends is None else f"{len(self.ends):,} documents"
        raise UserError(
            f"the {split} text has {has}, fewer than {needed} window(s) of {self.window}: take more text"
            " (data.max_bytes), a lower batch_size or shorter chunks"
        )

    def _place(self, number: int) -> tuple[int, int]:
        if self.ends is None:
            return number * self.window, (number + 1) * self.window
        start = int(self.ends[number - 1]) if number else 0
        return start, min(start + self.window, int(self.ends[number]))


class TrainBatches(IterableDataset[Tensor]):
    """Training batches start..total-1, (B, T) token ids. An epoch is a permutation of all windows.

    seed, place: the permutation of an epoch depends on these and the epoch's number. place is the number of stages
    before this one in its chain, so that a stage does not repeat the order of the stage before it.
    most: train on the first so many windows alone; None: on all.
    """

    def __init__(
        self,
        windows: Windows,
        batch_size: int,
        *,
        seed: int,
        place: int,
        start: int = 0,
        total: int = 0,
        most: int | None = None,
    ) -> None:
        windows.require(batch_size, "training")
        self.count = len(windows) if most is None else min(most, len(windows))
        self.windows = windows
        self.batch_size = batch_size
        self.seed = seed
        self.place = place
        self.start = start
        self.total = total
        self._epoch: tuple[int, np.ndarray] | None = None

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        first, every = (0, 1) if worker is None else (worker.id, worker.num_workers)
        # A DataLoader takes batches from its workers in turn.
        return map(self.batch, range(self.start + first, self.total, every))

    def batch(self, number: int) -> Tensor:
        """Return the token ids of a batch, (B, T) int64."""
        return self.windows.take(self.chosen(number))

    def chosen(self, number: int) -> list[int]:
        """Return the numbers of a batch's windows."""
        places = range(number * self.batch_size, (number + 1) * self.batch_size)
        return [int(self._permutation(place // self.count)[place % self.count]) for place in places]

    def _permutation(self, epoch: int) -> np.ndarray:
        if self._epoch is None or self._epoch[0] != epoch:
            # Hashed, because numpy takes (2**32, 0) and (0, 1) for the same seed.
            digest = hashlib.sha256(f"{self.seed} {self.place} {epoch}".encode()).digest()
            generator = np.random.default_rng(int.from_bytes(digest[:16], "big"))
            self._epoch = epoch, generator.permutation(self.count)
        return self._epoch[1]


class HeldOutBatches(Dataset[Tensor]):
    """The same `count` held-out windows every time, in order (all, if there are fewer); the last batch may be short.

    share: (rank, world): every world-th batch, from the rank-th on. A rank without a batch gets one without windows,
    so that it does not keep the others waiting. Raises UserError for less text than one window.
    """

    def __init__(self, windows: Windows, batch_size: int, count: int, share: tuple[int, int] = (0, 1)) -> None:
        rank, world = share
        windows.require(1, "held-out")
        chosen = np.random.default_rng(0).permutation(len(windows))[:count]
        self.windows = windows
        batches = np.split(np.sort(chosen), range(batch_size, len(chosen), batch_size))
        self.batches = batches[rank::world] or [chosen[:0]]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, batch: int) -> Tensor:
        return self.windows.take(self.batches[batch])


class WindowDataModule(LightningDataModule):
    """Windows of a prepared corpus for a Trainer.

    window: tokens of data per row; seed, place: see TrainBatches; start_batch: where a resumed run continues;
    total_batches: where training ends; train_windows: train on the first so many alone (None: on all); val_windows:
    held-out windows of one validation; share: this process's (rank, world) of the validation batches. Training batches
    are whole on every rank. Raises UserError for too little text.
    """

    def __init__(
        self,
        prepared: Prepared,
        *,
        window: int,
        batch_size: int,
        seed: int,
        place: int,
        total_batches: int,
        start_batch: int = 0,
        train_windows: int | None = None,
        val_windows: int = 256,
        workers: int = 0,
        pin_memory: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self.train_set = TrainBatches(
            Windows.of(prepared, "train", window),
            batch_size,
            seed=seed,
            place=place,
            start=start_batch,
            total=total_batches,
            most=train_windows,
        )
        self.val_set = HeldOutBatches(Windows.of(prepared, "val", window), batch_size, val_windows, share)
        self.workers = workers
        self.pin_memory = pin_memory

    def train_dataloader(self) -> DataLoader[Tensor]:
        return loader_of(self.train_set, self.workers, self.pin_memory)

    def val_dataloader(self) -> DataLoader[Tensor]:
        return loader_of(self.val_set, self.workers, self.pin_memory)


def loader_of(batches: Dataset[Tensor], workers: int = 0, pin_memory: bool = False) -> DataLoader[Tensor]:
    """Return a loader of a dataset whose items are whole batches."""
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        worker_init_fn=leave_to_parent,
    )

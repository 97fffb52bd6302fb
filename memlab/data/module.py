"""Batches of windows: what a batch holds depends on (seed, number of the batch) and on nothing else."""

from collections.abc import Iterator

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from memlab.data.prepare import Prepared
from memlab.errors import UserError


class TrainBatches(IterableDataset[Tensor]):
    """Batches start..total-1, (B, window) token ids. Windows lie on a fixed grid; an epoch is a permutation of them."""

    def __init__(
        self, tokens: np.ndarray, window: int, batch_size: int, *, seed: int, start: int = 0, total: int = 0
    ) -> None:
        self.tokens = tokens
        self.window = window
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.total = total
        self.windows = len(tokens) // window
        self._epoch: tuple[int, np.ndarray] | None = None

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        first, every = (0, 1) if worker is None else (worker.id, worker.num_workers)
        # Workers take turns, which is the order in which a DataLoader hands their batches on.
        return map(self.batch, range(self.start + first, self.total, every))

    def batch(self, number: int) -> Tensor:
        return take_windows(self.tokens, self.chosen(number), self.window)

    def chosen(self, number: int) -> list[int]:
        """Places on the grid of a batch's windows."""
        places = range(number * self.batch_size, (number + 1) * self.batch_size)
        return [int(self._permutation(place // self.windows)[place % self.windows]) for place in places]

    def _permutation(self, epoch: int) -> np.ndarray:
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.windows)
        return self._epoch[1]


class HeldOutBatches(Dataset[Tensor]):
    """The same `count` held-out windows every time, in order; the last batch may be short.

    share: (rank, world): every world-th batch, from the rank-th on; one without windows where there is none left, so
    that no rank leaves the others waiting. Raises UserError for less text than one window.
    """

    def __init__(
        self, tokens: np.ndarray, window: int, batch_size: int, count: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        rank, world = share
        _require_windows(tokens, 1, window, "held-out")
        chosen = np.random.default_rng(0).permutation(len(tokens) // window)[:count]
        self.tokens = tokens
        self.window = window
        batches = np.split(np.sort(chosen), range(batch_size, len(chosen), batch_size))
        self.batches = batches[rank::world] or [chosen[:0]]
        self.count = sum(map(len, self.batches))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, batch: int) -> Tensor:
        return take_windows(self.tokens, self.batches[batch], self.window)


def take_windows(tokens: np.ndarray, chosen: "np.ndarray | list[int]", window: int) -> Tensor:
    """(len(chosen), window) token ids as int64."""
    taken = np.empty((len(chosen), window), np.int64)
    for row, i in enumerate(chosen):
        taken[row] = tokens[i * window : (i + 1) * window]
    return torch.from_numpy(taken)


class WindowDataModule(LightningDataModule):
    """Windows of a prepared corpus for a Trainer.

    window: tokens of data per row; start_batch: where a resumed run goes on; total_batches: where training ends;
    val_windows: held-out windows of one validation (all, if there are fewer); share: this process's (rank, world) of
    them. Training batches are whole for every process.
    Raises UserError if a split is shorter than one window, or the training split than one batch.
    """

    def __init__(
        self,
        prepared: Prepared,
        *,
        window: int,
        batch_size: int,
        seed: int,
        total_batches: int,
        start_batch: int = 0,
        val_windows: int = 256,
        workers: int = 0,
        pin_memory: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        tokens = prepared.tokens("train")
        _require_windows(tokens, batch_size, window, "training")
        self.train_set = TrainBatches(tokens, window, batch_size, seed=seed, start=start_batch, total=total_batches)
        self.val_set = HeldOutBatches(prepared.tokens("val"), window, batch_size, val_windows, share)
        self.workers = workers
        self.pin_memory = pin_memory

    def train_dataloader(self) -> DataLoader[Tensor]:
        return loader_of(self.train_set, self.workers, self.pin_memory)

    def val_dataloader(self) -> DataLoader[Tensor]:
        return loader_of(self.val_set, self.workers, self.pin_memory)


def loader_of(batches: Dataset[Tensor], workers: int = 0, pin_memory: bool = False) -> DataLoader[Tensor]:
    """The loader of a dataset whose items are whole batches already."""
    return DataLoader(
        batches, batch_size=None, num_workers=workers, pin_memory=pin_memory, persistent_workers=workers > 0
    )


def _require_windows(tokens: np.ndarray, needed: int, window: int, split: str) -> None:
    if len(tokens) < needed * window:
        raise UserError(
            f"the {split} text has {len(tokens):,} tokens, fewer than {needed} window(s) of {window}: take more text"
            " (data.max_bytes), a lower batch_size or shorter chunks"
        )

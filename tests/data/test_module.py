from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from memlab.data.module import HeldOutBatches, TrainBatches, WindowDataModule
from memlab.data.prepare import Prepared, prepare

TOKENS = np.arange(1000, dtype=np.uint16)


def batches(seed: int = 0, **options: int) -> TrainBatches:
    return TrainBatches(TOKENS, 7, 4, seed=seed, **{"total": 200, **options})


def test_windows_lie_on_the_grid_and_an_epoch_has_each_once() -> None:
    first_tokens = torch.cat(list(islice(batches(), 35)))[:, 0]
    grid = torch.arange(142) * 7
    assert first_tokens[:140].unique().numel() == 140  # 142 windows an epoch, 4 a batch
    assert set(first_tokens.tolist()) <= set(grid.tolist())
    second_epoch = torch.cat(list(islice(batches(start=71), 35)))[:, 0]
    assert second_epoch.unique().numel() == 140 and not torch.equal(first_tokens[:140], second_epoch[:140])


def test_a_window_is_consecutive_tokens() -> None:
    batch = batches().batch(3)
    assert batch.dtype == torch.int64
    assert torch.equal(batch - batch[:, :1], torch.arange(7).expand(4, 7))


def test_a_batch_is_a_function_of_seed_and_number() -> None:
    assert torch.equal(next(iter(batches(start=50))), batches().batch(50))
    assert not torch.equal(batches(seed=0).batch(0), batches(seed=1).batch(0))


def test_held_out_windows_are_the_same_every_time_and_the_last_batch_may_be_short() -> None:
    held_out = [HeldOutBatches(TOKENS, 7, 4, 10) for _ in range(2)]
    sizes = [len(held_out[0][i]) for i in range(len(held_out[0]))]
    assert sizes == [4, 4, 2]
    assert all(torch.equal(held_out[0][i], held_out[1][i]) for i in range(3))
    assert HeldOutBatches(TOKENS, 7, 4, 10_000).count == 142


@pytest.fixture(scope="module")
def prepared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    config = {"name": "text_files", "path": str(corpus), "text_key": "text", "max_bytes": None, "val": 0.1}
    return prepare(config, {"name": "bpe", "vocab": 300}, tmp_path_factory.mktemp("data"))


def test_loaders_keep_the_order_with_any_number_of_workers(prepared: Prepared) -> None:
    orders = []
    for workers in (0, 2):
        data = WindowDataModule(
            prepared, window=8, batch_size=4, seed=0, start_batch=3, total_batches=10, val_windows=6, workers=workers
        )
        orders.append(torch.stack(list(data.train_dataloader())))
        assert [len(batch) for batch in data.val_dataloader()] == [4, 2]
    assert orders[0].shape == (7, 4, 8)
    assert torch.equal(orders[0], orders[1])


def test_too_little_text_is_said(prepared: Prepared) -> None:
    with pytest.raises(ValueError, match=r"held-out text has .* fewer than 1 window"):
        WindowDataModule(prepared, window=40_000, batch_size=1, seed=0, total_batches=1)

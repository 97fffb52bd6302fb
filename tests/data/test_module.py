import multiprocessing
import os
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memlab.data import BytePairEncoding, Prepared
from memlab.data.module import HeldOutBatches, TrainBatches, WindowDataModule, Windows
from memlab.errors import UserError
from memlab.processes.signals import ENDING
from tests.data.texts import BPE, made, text_files

TOKENS = np.arange(1000, dtype=np.uint16)


def batches(seed: int = 0, place: int = 0, **options: int) -> TrainBatches:
    return TrainBatches(Windows(TOKENS, 7), 4, seed=seed, place=place, **{"total": 200, **options})


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


def test_a_batch_is_a_function_of_seed_place_and_number() -> None:
    assert torch.equal(next(iter(batches(start=50))), batches().batch(50))
    assert batches(seed=3, place=2).chosen(5) == batches(seed=3, place=2).chosen(5)


def test_every_seed_and_place_has_an_order_of_its_own() -> None:
    """Of a chain's stages, too; and seeds beyond 32 and 64 bits, which numpy takes for a seed and a place."""
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (2**32, 0), (2**32 + 1, 0), (2**64, 0), (2**63 - 1, 1), (0, 2)]
    orders = {tuple(batches(seed, place).chosen(0)) for seed, place in pairs}
    assert len(orders) == len(pairs)


def test_a_stage_does_not_see_the_windows_of_the_stage_before_it_in_the_same_order() -> None:
    first, second = ([batches(place=place).chosen(i) for i in range(30)] for place in (0, 1))
    same = sum(a == b for a, b in zip(first, second, strict=True))
    assert same == 0


def test_held_out_windows_are_the_same_every_time_and_the_last_batch_may_be_short() -> None:
    held_out = [HeldOutBatches(Windows(TOKENS, 7), 4, 10) for _ in range(2)]
    sizes = [len(held_out[0][i]) for i in range(len(held_out[0]))]
    assert sizes == [4, 4, 2]
    assert all(torch.equal(held_out[0][i], held_out[1][i]) for i in range(3))
    everything = HeldOutBatches(Windows(TOKENS, 7), 4, 10_000)
    assert sum(len(everything[i]) for i in range(len(everything))) == 142


def test_ranks_share_held_out_windows() -> None:
    shares = [HeldOutBatches(Windows(TOKENS, 7), 4, 10, (rank, 4)) for rank in range(4)]
    assert [[len(share[i]) for i in range(len(share))] for share in shares] == [[4], [4], [2], [0]]
    assert shares[3][0].shape == (0, 7)


def test_padded_windows_are_the_fronts_of_documents_filled_with_blanks() -> None:
    tokens, ends = np.arange(2, 14, dtype=np.uint16), np.array([3, 4, 12])
    windows = Windows(tokens, 5, ends, blank=1)
    assert len(windows) == 3
    assert windows.take([2, 0, 1]).tolist() == [[6, 7, 8, 9, 10], [2, 3, 4, 1, 1], [5, 1, 1, 1, 1]]
    assert Windows(tokens, 5).take([1]).tolist() == [[7, 8, 9, 10, 11]]


@pytest.mark.parametrize("kind", ["packed", "padded"])
def test_a_source_chooses_its_windows(kind: str, tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.txt").write_text(f"{i:02} " + "x" * i)
    prepared = made(text_files(tmp_path / "*.txt", windows=kind), BytePairEncoding(vocab=258), tmp_path / "data")
    data = WindowDataModule(prepared, window=12, batch_size=9, seed=0, place=0, total_batches=2)
    rows = [prepared.decode(row) for row in torch.cat(list(data.train_dataloader())).tolist()]
    if kind == "padded":
        documents = {f"{i:02} " + "x" * i: i for i in range(20)}
        fronts = [row.replace("<blank>", "") for row in rows]
        assert len(set(fronts)) == 18 and all(any(text[:12] == front for text in documents) for front in fronts)
        assert all(row == (row.replace("<blank>", "") + "<blank>" * 12)[: len(row)] for row in rows)
        assert any("<blank>" in row for row in rows)
    else:
        assert not any("<blank>" in row for row in rows)
        whole = prepared.decode(prepared.tokens("train"))
        assert all(row in whole for row in rows)


@pytest.fixture(scope="module")
def prepared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return made(text_files(corpus), BPE, tmp_path_factory.mktemp("data"))


def data_of(prepared: Prepared, **options: Any) -> WindowDataModule:
    return WindowDataModule(prepared, seed=0, place=0, **{"window": 8, "batch_size": 4, "total_batches": 10, **options})


def test_loaders_keep_the_order_with_any_number_of_workers(prepared: Prepared) -> None:
    orders = []
    for workers in (0, 2):
        data = data_of(prepared, start_batch=3, val_windows=6, workers=workers)
        orders.append(torch.stack(list(data.train_dataloader())))
        assert [len(batch) for batch in data.val_dataloader()] == [4, 2]
    assert orders[0].shape == (7, 4, 8)
    assert torch.equal(orders[0], orders[1])


@pytest.mark.parametrize("signum", ENDING, ids=lambda signum: signum.name)
def test_a_signal_to_the_whole_group_leaves_the_loading_processes(prepared: Prepared, signum: int) -> None:
    """SLURM, `timeout` and Ctrl-C tell all processes; training then ends its step and saves, and needs its batches."""
    batches = iter(data_of(prepared, total_batches=200, workers=2).train_dataloader())
    first = [next(batches), next(batches)]  # one of each process: both have begun
    for process in multiprocessing.active_children():
        os.kill(process.pid, signum)
    assert len(first) + len(list(batches)) == 200


def test_too_little_text_is_said(prepared: Prepared, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training text has [\d,]+ tokens, fewer than 1 window"):
        data_of(prepared, window=400_000, batch_size=1)
    with pytest.raises(UserError, match=r"held-out text has [\d,]+ tokens, fewer than 1 window"):
        data_of(prepared, window=20_000, batch_size=1)
    padded = made(text_files(corpus, windows="padded"), BPE, tmp_path)
    with pytest.raises(UserError, match=r"training text has 54 documents, fewer than 55 window"):
        data_of(padded, batch_size=55)

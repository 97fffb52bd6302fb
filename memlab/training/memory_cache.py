"""Memories of training windows under a wholly frozen encoder, kept on disk (shapes: see memlab/models/base.py)."""

import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memlab.config.stage import Job
from memlab.data.module import TrainBatches
from memlab.models import Autoencoder, LanguageModel, MemoryModel
from memlab.training.module import KnownMemories

Cached = MemoryModel | Autoencoder  # models whose memories are their encoder's behind one projection


def known_memories(job: Job, model: LanguageModel, batches: TrainBatches) -> KnownMemories | None:
    """Return what gives a training batch's memories from the cache; None where the encoder is trained or absent."""
    # A fresh token embedding is trained, so its memories change; a channel may draw noise at every step.
    if job.stage.freeze_encoder is not True or not isinstance(model, Cached) or model.encoder is None:
        return None
    if job.stage.model["encoder"].get("channel") is not None:
        return None
    precision = job.stage.training["precision"]
    windows = batches.windows
    content = digest_of(model, [job.stage.model["encoder"], model.length, job.stage.data, windows.window, precision])
    folder = Path(job.config["runs_dir"]) / "embeddings"
    cache = MemoryCache(folder / content, model, len(windows), windows.window // model.length)
    return lambda number, tokens, part: cache.memories(batches.chosen(number)[part], tokens[part])


class MemoryCache:
    """Memories of every chunk of the windows of a fixed grid; a window's are made when they are first asked for.

    path: of two files, `.values` (windows, c, M, encoder's width) in fp32 and `.sums` (windows,), CRCs of the values;
    they take room on disk as they fill. Two processes may share them: both write the same values. Values that do not
    match their CRC, as after a crash or before another machine has written them, are made again.
    """

    def __init__(self, path: Path, model: Cached, windows: int, chunks: int) -> None:
        assert model.encoder is not None
        self.model = model
        self.encoder = model.encoder
        self.chunks = chunks
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (windows, chunks, self.encoder.memories, self.encoder.width)
        self.values = _array(path.with_suffix(".values"), np.float32, shape)
        self.sums = _array(path.with_suffix(".sums"), np.uint32, (windows,))

    def memories(self, windows: Sequence[int], tokens_BT: Tensor) -> Tensor:
        """Return memories (B, c, M, D) at the decoder's width of windows whose tokens are given."""
        chosen = np.asarray(windows)
        if not self.made(chosen):
            with torch.no_grad():
                fresh = self.encoder(tokens_BT.view(len(chosen) * self.chunks, -1))
            self.values[chosen] = fresh.float().cpu().numpy().reshape(len(chosen), *self.values.shape[1:])
            self.sums[chosen] = self._sums(chosen)
        kept = torch.from_numpy(self.values[chosen]).to(tokens_BT.device, non_blocking=True)
        projected: Tensor = self.model.projection(kept)
        return projected

    def made(self, windows: Any) -> bool:
        """Whether the memories of all of these windows are there."""
        return bool((self.sums[windows] == self._sums(windows)).all())

    def _sums(self, windows: Any) -> list[int]:
        return [zlib.crc32(values) or 1 for values in self.values[windows]]  # 0: nothing there yet


def digest_of(model: Cached, more: Any) -> str:
    """Return a name for what an encoder makes of a corpus: a hash of its weights and of `more`.

    more: names what the encoder has borrowed, whose weights are not read here.
    """
    assert model.encoder is not None
    hash_ = hashlib.sha256(json.dumps(more, sort_keys=True).encode())
    for name, tensor in model.encoder.state_dict().items():
        if name not in model.encoder.borrowed:
            hash_.update(name.encode())
            hash_.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return hash_.hexdigest()[:12]


def _array(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap:
    """Return the array in a file, of zeros if it is new. The file gets its size before any process maps it."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    with path.open("ab") as file:
        if file.tell() < size:
            file.truncate(size)
        assert file.tell() in (0, size), f"{path} is of another shape"
    return np.memmap(path, kind, "r+", shape=shape)

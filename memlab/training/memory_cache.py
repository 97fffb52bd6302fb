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

from memlab.models import MemoryModel


class EmbeddingCache:
    """Memories of every chunk of the windows of a fixed grid; a window's are made when it is first asked for.

    path: of two files, `.values` (windows, c, M, encoder's width) in fp32 and `.sums` (windows,), CRCs of them; they
    take room on disk as they fill. Two processes may share them: both write the same values. Values whose CRC is not
    theirs, as after a crash or from a machine that has not written yet, are made again.
    """

    def __init__(self, path: Path, model: MemoryModel, windows: int, chunks: int) -> None:
        assert model.encoder is not None
        self.model = model
        self.chunks = chunks
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (windows, chunks, model.encoder.memories, model.encoder.width)
        self.values = _array(path.with_suffix(".values"), np.float32, shape)
        self.sums = _array(path.with_suffix(".sums"), np.uint32, (windows,))

    def memories(self, windows: Sequence[int], tokens_BT: Tensor) -> Tensor:
        """Memories (B, c, M, D) at the decoder's width of windows whose tokens are given."""
        chosen = np.asarray(windows)
        if not self.made(chosen):
            with torch.no_grad():
                fresh = self.model.encoder(tokens_BT.view(len(chosen) * self.chunks, -1))
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


def embedding_digest(model: MemoryModel, more: Any) -> str:
    """A name for what an encoder makes of a corpus: its weights, and whatever else has a say in it."""
    assert model.encoder is not None
    hash_ = hashlib.sha256(json.dumps(more, sort_keys=True).encode())
    for name, tensor in model.encoder.state_dict().items():
        hash_.update(name.encode())
        hash_.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return hash_.hexdigest()[:12]


def _array(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap:
    """The array in a file, of zeros if it is new. The file is made whole before it is opened: no process cuts it."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    with path.open("ab") as file:
        if file.tell() < size:
            file.truncate(size)
        assert file.tell() in (0, size), f"{path} is of another shape"
    return np.memmap(path, kind, "r+", shape=shape)

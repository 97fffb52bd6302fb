"""Watched beside losses: gradients, accuracy by place in the chunk, memories (shapes: see memlab/models/base.py).

Nothing here draws a random number or runs a model.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

PARTS = 8  # of a chunk, of which accuracies are shown
MOST_MEMORIES = 256  # chunks whose memories are looked at


class Gradients:
    """The norm of all gradients together, before clipping, at each step since the last row.

    limit: the largest norm that a step keeps. The norms stay on the device until a row is written.
    """

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self._before = torch.zeros(0, dtype=torch.float64)  # norms that a checkpoint has brought
        self._norms: list[Tensor] = []

    def add(self, norm: Tensor | None) -> None:
        """Take in the norm of a step; None: clipping is off, and the norm is not computed."""
        if norm is not None:
            self._norms.append(norm.detach())

    def take(self) -> dict[str, float]:
        """Return the mean norm and the share of clipped steps, if there were steps, and begin anew."""
        norms = self.state()
        self.load(norms[:0])
        if self.limit is None or not len(norms):
            return {}
        clipped = (norms > self.limit).double().mean()
        return {"train/gradient_norm": norms.mean().item(), "train/clipped": clipped.item()}

    def state(self) -> Tensor:
        """Return the norms on the CPU, for a checkpoint."""
        new = [torch.stack(self._norms).cpu().double()] if self._norms else []
        return torch.cat([self._before, *new])

    def load(self, norms: Tensor) -> None:
        """Go on from a checkpoint's norms."""
        self._before, self._norms = norms, []


class Places(Metric):
    """Token accuracy by the token's place in its chunk, over batches and ranks."""

    full_state_update = False
    sums_2L: Tensor

    def __init__(self, length: int, **options: Any) -> None:
        """options: of every torchmetrics Metric."""
        super().__init__(**options)
        self.add_state("sums_2L", torch.zeros(2, length, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, by_place_3L: Tensor) -> None:
        """by_place_3L: as in memlab.objectives.Sums."""
        self.sums_2L += by_place_3L[1:].double()

    def compute(self) -> dict[str, float]:
        """Return the accuracy of each part of a chunk that has scored tokens: `1`, or `01-16` of several places."""
        right_L, count_L = self.sums_2L.tolist()
        return {
            name: sum(right_L[part]) / sum(count_L[part]) for name, part in parts(len(count_L)) if any(count_L[part])
        }


def parts(length: int) -> Iterator[tuple[str, slice]]:
    """Yield at most PARTS parts of a chunk of about equal size, each with the numbers of its first and last place."""
    count, digits = min(PARTS, length), len(str(length))
    for number in range(count):
        first, stop = number * length // count, (number + 1) * length // count
        name = f"{first + 1:0{digits}}" + (f"-{stop:0{digits}}" if stop > first + 1 else "")
        yield name, slice(first, stop)


class Memories:
    """The memories that an encoder makes of the first batch of a validation: the model's own pass is listened to."""

    def __init__(self) -> None:
        self._hook: Any = None
        self._first: Tensor | None = None

    def listen(self, encoder: nn.Module | None) -> None:
        """Wait for the encoder's next call. None: the model has no encoder."""
        self._first = None
        if encoder is not None:
            self._hook = encoder.register_forward_hook(self._keep)

    def take(self) -> dict[str, float]:
        """Return what `statistics` says, if the encoder was called, and stop listening."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        first, self._first = self._first, None
        return {} if first is None else statistics(first)

    def _keep(self, _: nn.Module, __: Any, memories_RMD: Tensor) -> None:
        if self._first is None:
            every = -(-len(memories_RMD) // MOST_MEMORIES)
            self._first = memories_RMD.detach()[::every].flatten(1)


@torch.no_grad()
def statistics(memories_RF: Tensor) -> dict[str, float]:
    """Return norm, effective rank and nearest-neighbour distance of the memories of R chunks, F floats each.

    norm, nearest_distance: means over the chunks of the Euclidean length, and of the distance to the nearest other one.
    effective_rank: exp of the entropy of the shares of variance along the principal axes, from 1 to F; 0 if all are the
        same. NaN where a memory is not finite.
    """
    names = ("encoder/norm", "encoder/effective_rank", "encoder/nearest_distance")
    values = [float("nan")] * len(names)
    x_RF = memories_RF.double()
    with suppress(torch.linalg.LinAlgError):
        if x_RF.isfinite().all():
            centred_RF = x_RF - x_RF.mean(0)
            # R x R or F x F: both have the same eigenvalues but for zeros.
            small = centred_RF.T if len(x_RF) > x_RF.shape[1] else centred_RF
            variances = torch.linalg.eigvalsh(small @ small.T).clamp(min=0)
            total = variances.sum()
            entropy = torch.special.entr(variances / total).sum()
            rank = torch.where(total > 0, entropy.exp(), 0.0)
            distance_RR = torch.cdist(x_RF, x_RF, compute_mode="donot_use_mm_for_euclid_dist")
            nearest_R = distance_RR.fill_diagonal_(torch.inf).min(1).values
            values = torch.stack((x_RF.norm(dim=1).mean(), rank, nearest_R.mean())).tolist()
    return dict(zip(names, values, strict=True))

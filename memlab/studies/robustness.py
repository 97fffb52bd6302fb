"""Accuracy with disturbed memories: Gaussian noise, and fewer bits per float.

Shapes: B windows of T tokens, R chunks, M memories per chunk, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from memlab.errors import UserError
from memlab.measures.base import Measure, Result, Subject
from memlab.measures.greedy import free_running_sums
from memlab.measures.metrics import TokenAccuracy

Disturb = Callable[[Tensor], Tensor]


class Robustness(Measure):
    """Accuracies of a model with an encoder whose memories are disturbed, teacher-forced and free-running.

    noise: Gaussian noise is added; standard deviations, in units of each memory vector's root mean square. The metrics
        of 0.5 are noise_0.5/token_accuracy and noise_0.5/free_running_token_accuracy. The noise is drawn from a fixed
        seed.
    bits: each feature is rounded to 2^bits evenly spaced values between its least and its greatest value over the
        measured windows; the metrics of 4 are bits_4/token_accuracy and so on. These ranges belong to the model and are
        stored once, so they are not counted.
    What is disturbed is what the encoder gives, (R, M, D). Raises UserError for negative noise and for less than a bit.
    """

    name = "robustness"

    def __init__(self, *, windows: int, noise: Sequence[float] = (), bits: Sequence[int] = ()) -> None:
        super().__init__(windows=windows)
        if any(std < 0 for std in noise) or any(count < 1 for count in bits):
            raise UserError(f"noise={list(noise)}, bits={list(bits)}: choose 0 or more, and 1 or more.")
        self.noise = tuple(noise)
        self.bits = tuple(bits)

    def __call__(self, subject: Subject) -> Result:
        if subject.model.encoder is None:
            return Result()
        ways: dict[str, Disturb] = {f"noise_{std:g}": _noise(std) for std in self.noise}
        if self.bits:
            low_MD, high_MD = _ranges(subject, self.windows)
            ways |= {f"bits_{bits}": _rounding(bits, low_MD, high_MD) for bits in self.bits}
        metrics: dict[str, dict[str, float]] = {}
        for way, disturb in ways.items():
            with _disturbed(subject, disturb):
                for (table, name), accuracy in _accuracies(subject, self.windows).items():
                    metrics.setdefault(table, {})[f"{way}/{name}"] = accuracy
        return Result(metrics=metrics)


@contextmanager
def _disturbed(subject: Subject, disturb: Disturb) -> Iterator[None]:
    """Let everything that reads the encoder's memories read disturbed ones."""
    assert subject.model.encoder is not None
    hook = subject.model.encoder.register_forward_hook(lambda encoder, tokens, memories_RMD: disturb(memories_RMD))
    try:
        yield
    finally:
        hook.remove()


def _accuracies(subject: Subject, windows: int) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], TokenAccuracy] = {}
    for tokens_BT in subject.batches(windows):
        _, forced = subject.objective.losses(subject.model, tokens_BT, subject.layout)
        greedy = free_running_sums(subject.model, subject.objective, tokens_BT, subject.layout)
        for name, counted in (("token_accuracy", forced), ("free_running_token_accuracy", greedy)):
            for table, counts in counted.items():
                # Other ranks, if there are any, do not measure.
                accuracy = found.setdefault((table, name), TokenAccuracy(sync_on_compute=False))
                accuracy.update(counts.correct_R.cpu(), counts.count_R.cpu())
    return {key: accuracy.compute().item() for key, accuracy in found.items()}


def _ranges(subject: Subject, windows: int) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest value of each feature, (M, D) both, over the memories of all windows."""
    lows: list[Tensor] = []
    highs: list[Tensor] = []

    def note(memories_RMD: Tensor) -> Tensor:
        lows.append(memories_RMD.amin(0))
        highs.append(memories_RMD.amax(0))
        return memories_RMD

    with _disturbed(subject, note):
        for tokens_BT in subject.batches(windows):
            subject.objective.losses(subject.model, tokens_BT, subject.layout)
    return torch.stack(lows).amin(0), torch.stack(highs).amax(0)


def _noise(std: float) -> Disturb:
    generator = torch.Generator().manual_seed(0)

    def disturb(memories_RMD: Tensor) -> Tensor:
        size = memories_RMD.square().mean(-1, keepdim=True).sqrt()
        drawn = torch.randn(memories_RMD.shape, generator=generator).to(memories_RMD)
        return memories_RMD + std * size * drawn

    return disturb


def _rounding(bits: int, low_MD: Tensor, high_MD: Tensor) -> Disturb:
    step_MD = (high_MD - low_MD) / (2**bits - 1)

    def disturb(memories_RMD: Tensor) -> Tensor:
        # A feature that never changes has no steps. Free-running memories may lie outside the range.
        steps = torch.where(step_MD > 0, (memories_RMD - low_MD) / step_MD, 0.0).clamp(0, 2**bits - 1)
        return low_MD + steps.round() * step_MD

    return disturb

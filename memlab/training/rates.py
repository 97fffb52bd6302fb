"""Schedules: the share of the learning rate at a step."""


class LinearDecay:
    """Rise linearly over the warm-up, then fall linearly to 0 at the end.

    warmup: steps; at most a tenth of the stage, which would otherwise spend itself on the warm-up.
    """

    def __init__(self, *, warmup: int = 0) -> None:
        self.warmup = warmup

    def __call__(self, step: int, steps: int) -> float:
        """Return the share at `step` (from 0) of a stage of `steps` steps."""
        warmup = min(self.warmup, steps // 10)
        if step < warmup:
            return (step + 1) / warmup
        return max(0.0, (steps - step) / (steps - warmup))


class Constant:
    """Rise linearly over the warm-up, then stay at 1. warmup: as in LinearDecay."""

    def __init__(self, *, warmup: int = 0) -> None:
        self.warmup = warmup

    def __call__(self, step: int, steps: int) -> float:
        """Return the share at `step` (from 0) of a stage of `steps` steps."""
        warmup = min(self.warmup, steps // 10)
        return (step + 1) / warmup if step < warmup else 1.0

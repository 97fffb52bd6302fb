"""Redrawing evaluation windows: how a metric of one trained model would vary with the text that it is measured on.

Shape legend: W evaluation windows, R draws.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from memlab.report.side import SEEDS_FOR_T, Floats, Side, Unmeasurable

DRAWS = 2_000  # the smallest p-value is 1 / (DRAWS + 1) = 0.0005, which Holm's correction for 50 claims still reaches
SEED = 20260213
FROM_WINDOWS = ("token_accuracy", "cross_entropy", "entropy_ratio")
SAME_TEXT = ("data", "window")  # windows of the same prepared text, cut every so many tokens, are the same windows


def draws_of(side: Side, seeds: Sequence[int], stream: int = 0) -> Floats:
    """Redraw the windows of every seed; return the metric of each draw, averaged over seeds: (R,).

    Equally many windows are drawn alike in one stream, so draws of two sides in the same stream are paired; draws of
    different streams are independent.

    Raises:
        Unmeasurable: the metric is no ratio of sums per window, or a run saved none.
    """
    total = np.zeros(DRAWS)
    name = _split(side.metric)[1]
    for seed in seeds:
        count_W = _window(side, seed, "count")
        part_W = _window(side, seed, "correct" if name == "token_accuracy" else "loss")
        weights_RW = _weights(len(count_W), stream)
        ratio_R = (weights_RW @ part_W) / (weights_RW @ count_W)
        if name == "entropy_ratio":
            # 1 - CE / CE_0 needs the vocabulary's CE_0; the row's own ratio and loss give it.
            ratio_R = 1 - (1 - side.by_seed()[seed][side.metric]) * ratio_R / (part_W.sum() / count_W.sum())
        total += ratio_R
    return total / len(seeds)


def same_windows(left: Side, right: Side, seed: int) -> bool:
    """Whether both sides' runs of `seed` were evaluated on the same windows of the same text.

    The settings of the evaluations tell: the hash of the prepared text, the tokens per window, the number of windows.
    Two arms may score different tokens of a window, by objectives of their own. Raises Unmeasurable as `draws_of`.
    """
    found = [_windows(side, seed) for side in (left, right)]
    if any(windows.get(key) is None for windows in found for key in SAME_TEXT):
        return False  # a row that does not say what its windows are
    same_text = all(found[0][key] == found[1][key] for key in SAME_TEXT)
    return same_text and len(_window(left, seed, "count")) == len(_window(right, seed, "count"))


@lru_cache(maxsize=2)
def _weights(windows: int, stream: int) -> Floats:
    """Return how often each draw takes each window: (R, W), every row sums to W."""
    generator = np.random.default_rng([SEED, stream])
    return generator.multinomial(windows, np.full(windows, 1 / windows), size=DRAWS).astype(np.float64)


def _windows(side: Side, seed: int) -> dict[str, list[float]]:
    table, name = _split(side.metric)
    if name not in FROM_WINDOWS:
        raise Unmeasurable(f"{side.metric} cannot be recomputed per window: needs {SEEDS_FOR_T} seeds for an interval")
    found: dict[str, list[float]] = side.by_seed()[seed].get("windows", {}).get(table, {})
    return found


def _window(side: Side, seed: int, key: str) -> Floats:
    """Return one sum per window of one run: (W,). Raises Unmeasurable as `draws_of`."""
    values = _windows(side, seed).get(key)
    if not values:
        run = side.by_seed()[seed].get("run")
        raise Unmeasurable(f"run {run} saved no per-window {key}: needs {SEEDS_FOR_T} seeds for an interval")
    return np.asarray(values, dtype=np.float64)


def _split(metric: str) -> tuple[str, str]:
    """clm/token_accuracy -> clm, token_accuracy: the windows' key in a row, and the plain name."""
    table, _, name = metric.rpartition("/")
    return table, name

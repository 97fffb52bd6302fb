"""How long a text of n tokens takes to be read in s chunks: a cost model, its fit, and the best number of chunks.

    seconds(n, s) = a + b n + c n^2/s + d s + e s^2

a: whatever does not depend on the sizes. b n: work per token. c n^2/s: the encoder mixes the (n/s)^2 pairs of each of s
chunks. d s: the decoder's work per slot. e s^2: the decoder mixes the pairs of s slots. No coefficient is negative.
experiments/throughput/README.md derives the model. Neither torch nor any model is imported.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Cost = tuple[int, int, float]  # tokens n, chunks s, seconds


@dataclass(frozen=True)
class CostModel:
    """The coefficients, in seconds."""

    a: float
    b: float
    c: float
    d: float
    e: float

    def seconds(self, tokens: float, chunks: float) -> float:
        terms = _terms(tokens, chunks)
        return sum(part * term for part, term in zip((self.a, self.b, self.c, self.d, self.e), terms, strict=True))

    def best_chunks(self, tokens: float) -> float | None:
        """Return the s that takes least time, where the derivative -c n^2/s^2 + d + 2 e s is zero.

        None if the time only grows or only falls between s = 1 and s = n.
        """
        if self.e:
            roots = np.roots([2 * self.e, self.d, 0.0, -self.c * tokens**2])
            best = float(max(root.real for root in roots if abs(root.imag) <= 1e-6 * abs(root)))
        else:
            best = tokens * math.sqrt(self.c / self.d) if self.d else tokens
        return best if 1 < best < tokens else None


def fit(costs: Sequence[Cost]) -> CostModel:
    """Return the model with the least squares of relative errors. Five costs or more."""
    from scipy.optimize import nnls  # imported here because it takes long

    seconds = np.array([cost[2] for cost in costs])
    terms = np.array([_terms(tokens, chunks) for tokens, chunks, _ in costs]) / seconds[:, None]
    sizes = np.linalg.norm(terms, axis=0)
    parts = nnls(terms / sizes, np.ones(len(costs)))[0] / sizes
    return CostModel(*map(float, parts))


def fit_error(model: CostModel, costs: Sequence[Cost]) -> float:
    """Return the median of |fitted / measured - 1|."""
    return float(np.median([abs(model.seconds(tokens, chunks) / seconds - 1) for tokens, chunks, seconds in costs]))


def measured_best(seconds: Mapping[int, float]) -> tuple[float, bool]:
    """Return the best number of chunks by {chunks: seconds}, and whether it lies within those measured.

    It is the lowest point of a parabola over the logarithm of s, through the fastest s and the s beside it on each
    side. If the fastest s is the least or the greatest, it is that s itself.
    """
    chunks = sorted(seconds)
    place = min(range(len(chunks)), key=lambda at: seconds[chunks[at]])
    if place in (0, len(chunks) - 1):
        return float(chunks[place]), False
    near = chunks[place - 1 : place + 2]
    x = np.log(near)
    curve, slope, _ = np.polyfit(x - x[1], [seconds[at] for at in near], 2)
    # Three equal times make no parabola.
    return float(math.exp(x[1] - slope / (2 * curve))) if curve > 0 else float(near[1]), True


def exponent(tokens: Sequence[float], chunks: Sequence[float]) -> float:
    """Return x of s ~ n^x by least squares of the logarithms."""
    return float(np.polyfit(np.log(tokens), np.log(chunks), 1)[0])


def _terms(tokens: float, chunks: float) -> tuple[float, float, float, float, float]:
    return 1.0, float(tokens), tokens**2 / chunks, float(chunks), float(chunks) ** 2

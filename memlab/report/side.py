"""One side of a comparison: rows that are replicates of each other, and the metric asked of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memlab.errors import UserError
from memlab.report.collect import Row

SEEDS_FOR_T = 3  # fewer seeds say too little about their own spread: with two, the t quantile is 12.7

Floats = NDArray[np.float64]


class Unmeasurable(Exception):
    """The rows at hand cannot give the estimate; the message says why."""


@dataclass(frozen=True)
class Side:
    """Rows that differ in nothing but the seed, and the metric asked of them."""

    rows: Sequence[Row]
    metric: str

    def by_seed(self) -> dict[int, Row]:
        """Return the rows by seed, in order; rows without the metric are left out.

        Raises:
            UserError: two rows share a seed, so the side mixes runs that are not replicates of each other.
        """
        found: dict[int, Row] = {}
        for row in self.rows:
            if row.get(self.metric) is None:
                continue
            seed = int(row.get("seed", 0))
            if seed in found:
                raise UserError(
                    f"runs {found[seed].get('run')} and {row.get('run')} are both seed {seed} of {row.get('arm')} "
                    f"({row.get('architecture')}): give them different arms, or name in the claim's selector the "
                    "choice that tells them apart"
                )
            found[seed] = row
        return dict(sorted(found.items()))

    def values(self, seeds: Sequence[int]) -> Floats:
        """Return the metric of each of `seeds`."""
        rows = self.by_seed()
        return np.array([rows[seed][self.metric] for seed in seeds], dtype=np.float64)

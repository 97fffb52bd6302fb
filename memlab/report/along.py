"""Claims along training: the difference of two arms, and the verdict on it, at every validation of their last stages.

A stage's learning rate falls to zero at its end, so an earlier validation is not where a shorter stage would have
ended. It tells which way a difference goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memlab.report.claims import pairs
from memlab.report.collect import Row
from memlab.report.expected import Claim
from memlab.report.side import SEEDS_FOR_T, Side
from memlab.report.uncertainty import Estimate, over_seeds
from memlab.report.units import plain_name
from memlab.report.verdict import judge

TOWARDS, AWAY, LEVEL = "towards", "away", "level"


@dataclass(frozen=True)
class Course:
    """One pair of arms of a claim, at P validations of their last stages, after the same shares of both.

    claim: name of its verdict. shares, steps: of the left arm's last stage. second_half: by how much the difference
    grew from the middle validation to the last one; None with a single validation.
    """

    claim: str
    architecture: str  # of the left arm
    left: str
    right: str
    metric: str
    needed: float
    shares: list[float]
    steps: list[int]
    found: list[Estimate]
    second_half: Estimate | None

    @property
    def verdicts(self) -> list[str]:
        return [judge(found, self.needed) for found in self.found]

    @property
    def trend(self) -> str:
        """Where the second half of training moved the difference: TOWARDS the claim, AWAY from it, or LEVEL."""
        change = self.second_half
        if change is None or change.low <= 0 <= change.high:
            return LEVEL
        return TOWARDS if change.value > 0 else AWAY

    @property
    def sign_changes(self) -> int | None:
        """The step from which on the difference has its last sign; None unless both signs were sure at some step."""
        sign = np.sign(self.found[-1].value)
        against = [place for place, found in enumerate(self.found) if found.value * sign < 0]
        sure = [found for found in self.found if found.low > 0 or found.high < 0]
        if not against or len({np.sign(found.value) for found in sure}) < 2:
            return None
        return self.steps[against[-1] + 1]


def courses(claims: Sequence[Claim], rows: Sequence[Row]) -> list[Course]:
    """Return the course of every pair of arms that has one: three seeds of both arms with validations of the metric."""
    found = (_course(name, claim, left, right) for name, claim, left, right in pairs(claims, rows))
    return [course for course in found if course is not None]


def _course(name: str, claim: Claim, left: Side | float, right: Side | float) -> Course | None:
    if isinstance(left, float) or isinstance(right, float):
        return None
    rows = left.by_seed(), right.by_seed()
    seeds = [seed for seed in rows[0] if seed in rows[1]]
    if len(seeds) < SEEDS_FOR_T:
        return None
    curves = [
        [_curve(of_side[seed], side.metric) for seed in seeds]
        for of_side, side in zip(rows, (left, right), strict=True)
    ]
    shares = sorted(set.intersection(*(set(curve) for of_side in curves for curve in of_side)))
    if not shares:
        return None
    left_SP, right_SP = (np.array([[curve[share] for share in shares] for curve in of_side]) for of_side in curves)
    change_SP = left_SP - right_SP
    first = rows[0][seeds[0]]
    grown_S = change_SP[:, -1] - change_SP[:, (len(shares) - 1) // 2]
    return Course(
        claim=name,
        architecture=str(first.get("architecture")),
        left=str(first["arm"]),
        right=str(rows[1][seeds[0]]["arm"]),
        metric=left.metric,
        needed=float(claim["smallest_effect"]),
        shares=shares,
        steps=[round(share * first["stages"][-1]["steps"]) for share in shares],
        found=[over_seeds(change_S, seeds) for change_S in change_SP.T],
        second_half=over_seeds(grown_S, seeds) if len(shares) > 1 else None,
    )


def _curve(row: Row, metric: str) -> dict[float, float]:
    """Return {share of the last stage: value} of the validations that have the metric."""
    stage = row["stages"][-1]
    curve = stage["curve"]
    if metric not in curve:
        # A model of one table calls that table's metric by its plain name.
        plain = plain_name(metric)
        metric = plain if row.get(plain) == row[metric] else metric
    values = zip(curve.get("steps", []), curve.get(metric, []), strict=False)
    return {round(step / stage["steps"], 6): value for step, value in values if value is not None}

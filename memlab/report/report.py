"""What a report is: rows, verdicts on the claims, and where they come from."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from memlab.report.collect import Row
from memlab.report.expected import Expected


@dataclass
class Report:
    """What a report says, and the folder that it is written into."""

    experiment: str
    scale: str
    rows: list[Row]
    claims: list[dict[str, Any]]  # verdicts, see memlab/report/claims.py
    folder: Path
    command: str  # the command that reproduces the report
    expected: Expected
    unfinished: list[str] = field(default_factory=list)  # points asked for without a finished run

    @property
    def metrics(self) -> list[str]:
        """The metrics of the report's tables."""
        return list(self.expected.get("metrics", ["token_accuracy"]))

    @property
    def pictures(self) -> list[Path]:
        return sorted(self.folder.glob("figure*.png"))


class Origin(NamedTuple):
    """Where a trained stage comes from: the code, the machine and the versions of libraries."""

    commit: str | None
    dirty: bool  # trained by code with uncommitted changes
    hardware: str
    versions: str


def as_dict(report: Report) -> dict[str, Any]:
    """Return the content of report.json: all that tables and pictures need, without the sums of every window."""
    found = origins(report.rows)
    return {
        "experiment": report.experiment,
        "scale": report.scale,
        "rows": [{key: value for key, value in row.items() if key != "windows"} for row in report.rows],
        "claims": report.claims,
        "command": report.command,
        "unfinished": report.unfinished,
        "provenance": {
            "commits": sorted({origin.commit for origin in found if origin.commit}),
            "dirty": any(origin.dirty for origin in found),
            "hardware": sorted({origin.hardware for origin in found if origin.hardware}),
            "versions": sorted({origin.versions for origin in found if origin.versions}),
            "seconds": seconds(report.rows),
        },
    }


def origins(rows: Sequence[Row]) -> dict[Origin, list[str]]:
    """Return the origins of all stages behind `rows`, each with the names of its run folders.

    Rows committed by older versions have one commit and one hardware for the whole chain, its last stage's.
    """
    found: dict[Origin, dict[str, None]] = {}
    for row in rows:
        for origin, run in _origins(row):
            found.setdefault(origin, {})[run] = None
    return {origin: list(runs) for origin, runs in found.items()}


def seconds(rows: Sequence[Row]) -> float:
    """Return the training time behind `rows`; a stage that several of them share counts once."""
    return math.fsum({stage["run"]: stage["seconds"] for row in rows for stage in row["stages"]}.values())


def _origins(row: Row) -> Iterator[tuple[Origin, str]]:
    stages = [stage for stage in row["stages"] if "commit" in stage]
    for about in stages or [row]:
        origin = Origin(about["commit"], bool(about["dirty"]), about.get("hardware") or "", about.get("versions") or "")
        yield origin, about["run"]

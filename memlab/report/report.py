"""What a report is: rows, verdicts on the claims, and where they are from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memlab.report.claims import Expected
from memlab.report.collect import Row


@dataclass
class Report:
    """What a report says, and where it was written."""

    experiment: str
    scale: str
    rows: list[Row]
    claims: list[dict[str, Any]]
    folder: Path
    command: str
    expected: Expected
    unfinished: list[str] = field(default_factory=list)  # points asked for without a finished run

    @property
    def metrics(self) -> list[str]:
        """Those of its tables."""
        return list(self.expected.get("metrics", ["token_accuracy"]))

    @property
    def pictures(self) -> list[Path]:
        return sorted(self.folder.glob("figure*.png"))


def as_dict(report: Report) -> dict[str, Any]:
    """The content of report.json: all that tables and pictures need, but for the sums of every window."""
    return {
        "experiment": report.experiment,
        "scale": report.scale,
        "rows": [{key: value for key, value in row.items() if key != "windows"} for row in report.rows],
        "claims": report.claims,
        "command": report.command,
        "unfinished": report.unfinished,
        "provenance": {
            "commits": sorted({str(row["commit"]) for row in report.rows if row["commit"]}),
            "dirty": any(row["dirty"] for row in report.rows),
            "hardware": sorted({row["hardware"] for row in report.rows if row["hardware"]}),
            "seconds": seconds(report.rows),
        },
    }


def seconds(rows: Sequence[Row]) -> float:
    """Training time behind `rows`; a stage that several of them share counts once."""
    return math.fsum({stage["run"]: stage["seconds"] for row in rows for stage in row["stages"]}.values())

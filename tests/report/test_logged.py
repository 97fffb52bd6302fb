"""What a logger is given of a finished experiment."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memlab.report import make_report
from memlab.report.collect import Point
from memlab.report.writers import WRITERS, Logged

ACCURACY = {"blank_copy": 0.90, "curriculum": 0.95}
COMMAND = "python -m memlab.run +experiment=copy_curriculum"


class Heard:
    """A logger that keeps what it is given."""

    def log_report(self, folder: Path, runs_dir: Path, content: dict[str, Any]) -> None:
        self.given = (folder, runs_dir, content)


def test_a_logger_is_given_the_tables_and_pictures_of_the_page(
    make_point: Callable[..., Point], tmp_path: Path
) -> None:
    points = [make_point(arm, ACCURACY[arm], seed) for arm in ACCURACY for seed in range(3)]
    heard, folder = Heard(), tmp_path / "report"
    writers = (*WRITERS, Logged(heard, tmp_path))
    report = make_report("copy_curriculum", "smoke", points, folder, COMMAND, writers=writers)
    given_folder, runs_dir, content = heard.given
    assert (given_folder, runs_dir) == (folder, tmp_path)
    assert content["pictures"] == sorted(folder.glob("figure*.png")) and content["pictures"]
    page = (folder / "report.md").read_text()
    for table in ("arms", "claims"):
        assert all(f"| {' | '.join(line)} |" in page for line in content["tables"][table])
    with (folder / "results.csv").open() as file:
        lines = list(csv.reader(file))
    shown = [["" if cell is None else str(cell) for cell in line] for line in content["tables"]["results"]]
    assert shown == lines and len(lines) == 1 + len(points)
    assert sum(content["numbers"].values()) == len(report.claims)
    holds = sum(claim["holds"] is True for claim in report.claims)
    assert content["numbers"]["claims/holds"] == holds >= 1

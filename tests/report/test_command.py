"""python -m memlab.report: from run folders, from committed results, of every experiment."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from memlab import progress
from memlab.report import __main__ as command
from memlab.report.collect import Point

MakePoint = Callable[..., Point]
Report = Callable[..., tuple[int, str]]


@pytest.fixture
def report(
    experiments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Report:
    """report(*arguments, points=[]): the command's exit status and output; `points` are what its sweep is made of."""

    def call(*arguments: str, points: list[Point]) -> tuple[int, str]:
        monkeypatch.setattr(command, "_points", lambda _: points)
        monkeypatch.setattr(sys, "argv", ["report", *arguments, "scale=smoke", f"runs_dir={tmp_path / 'runs'}"])
        monkeypatch.setattr(progress.console, "width", 500)
        with pytest.raises(SystemExit) as end:
            command.main()
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, captured.out + captured.err

    return call


def test_publish_then_redraw_without_runs(report: Report, make_point: MakePoint, experiments: Path) -> None:
    points = [make_point("curriculum", 0.9), make_point("blank_copy", 0.8)]
    status, output = report("+experiment=copy_curriculum", "--publish", points=points)
    assert status == 3 and "not measured: " in output, "other arms are missing"
    results = experiments / "copy_curriculum" / "results"
    assert output.count("published: ") == 7 and (results / "figure_smoke.png").is_file()
    assert "runs_dir" not in json.loads((results / "smoke.json").read_text())["command"]

    status, output = report("+experiment=copy_curriculum", "--from-results", points=[])
    assert status == 3 and "smoke_committed/figure.png" in output and "smoke_committed/figure_cost.png" in output


@pytest.mark.slow
def test_results_can_be_named(report: Report, make_point: MakePoint, experiments: Path) -> None:
    report("+experiment=copy_curriculum", "--publish", "--name=other", points=[make_point("no_memory", 0.3)])
    names = {path.name for path in (experiments / "copy_curriculum" / "results").iterdir()}
    assert {"other.json", "other.csv", "figure_other.png"} <= names
    status, output = report("+experiment=copy_curriculum", "--from-results", points=[])
    assert status == 2 and "choose among those it has (other)" in output


@pytest.mark.slow
def test_publishing_loses_no_rows(report: Report, make_point: MakePoint, experiments: Path) -> None:
    points = [make_point("curriculum", 0.9), make_point("blank_copy", 0.8)]
    report("+experiment=copy_curriculum", "--publish", points=points)
    status, output = report("+experiment=copy_curriculum", "--publish", points=points[:1])
    assert status == 2 and "1 rows that this sweep lacks (architecture=mixer arm=blank_copy seed=0" in output


@pytest.mark.slow
def test_published_rows_outlive_their_run_folders(report: Report, make_point: MakePoint, experiments: Path) -> None:
    """As long as the sweep names the very same runs."""
    points = [make_point("curriculum", 0.9), make_point("blank_copy", 0.8)]
    report("+experiment=copy_curriculum", "--publish", points=points[:1])
    path = experiments / "copy_curriculum" / "results" / "smoke.json"
    first = json.loads(path.read_text())["rows"][0]
    shutil.rmtree(points[0]["folder"])
    output = report("+experiment=copy_curriculum", "--publish", points=points)[1]
    assert "not finished" not in output
    kept, new = sorted(json.loads(path.read_text())["rows"], key=lambda row: str(row["arm"]), reverse=True)
    assert kept == first and new["arm"] == "blank_copy"

    other: Point = {**points[0], "folder": points[0]["folder"].with_name("copy-of_other_settings")}
    status, output = report("+experiment=copy_curriculum", "--publish", points=[other, points[1]])
    assert status == 2 and "rows that this sweep lacks (architecture=mixer arm=curriculum" in output


@pytest.mark.slow
def test_another_experiment_needs_a_name(report: Report, make_point: MakePoint, experiments: Path) -> None:
    given = ("+experiment=copy_curriculum", "--publish", "optimizer.lr=0.1", "seed=0,1")
    status, output = report(*given, points=[make_point("curriculum", 0.9)])
    assert status == 2 and "optimizer.lr=0.1 makes another experiment" in output and "seed" not in output
    assert report(*given, "--name=lr", points=[make_point("curriculum", 0.9)])[0] == 3


@pytest.mark.slow
def test_complete_runs_before_committed_results_before_parts(report: Report, make_point: MakePoint) -> None:
    whole = [make_point("curriculum", 0.9), make_point("blank_copy", 0.8)]
    begun: Point = {**whole[1], "folder": Path("/nowhere"), "stages": [Path("/nowhere")]}
    assert "copy_curriculum: drawn from run folders" in report("--all", points=[whole[0], begun])[1]
    report("+experiment=copy_curriculum", "--publish", points=whole)
    assert "copy_curriculum: drawn from the committed" in report("--all", points=[whole[0], begun])[1]
    assert "copy_curriculum: drawn from run folders" in report("--all", points=whole)[1]


def test_without_runs_it_says_what_to_do(report: Report) -> None:
    status, output = report("+experiment=copy_curriculum", points=[])
    assert status == 2
    assert "run it first" in output and "--from-results" in output


@pytest.mark.slow
def test_every_experiment_says_where_its_pictures_are_from(report: Report, make_point: MakePoint) -> None:
    points = [make_point("no_memory", 0.3)]
    status, output = report("--all", points=[])
    assert status == 0 and "copy_curriculum: nothing to draw yet, run it first: python -m memlab.run" in output
    assert "picture:" not in output

    status, output = report("--all", "--publish", points=points)
    assert status == 0 and "copy_curriculum: drawn from run folders" in output
    assert "smoke/figure.png" in output and "smoke/figure_cost.png" in output

    status, output = report("--all", points=[])
    assert status == 0 and "copy_curriculum: drawn from the committed results/smoke.json" in output
    assert output.rstrip().splitlines()[-1].endswith("smoke_committed/figure_cost.png")


def test_publishing_what_is_published_makes_no_sense(report: Report) -> None:
    status, output = report("--publish", "--from-results", points=[])
    assert status == 2 and "not allowed with" in output

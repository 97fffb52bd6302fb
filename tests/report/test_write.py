"""A report from any subset of points: files, contents, tables."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from memlab.report import make_report, print_report
from memlab.report.collect import Point, collect
from memlab.report.write import Report

MakePoint = Callable[..., Point]
ACCURACY = {
    "no_memory": 0.30,
    "direct_copy": 0.42,
    "blank_copy": 0.90,
    "blank_copy_longer": 0.92,
    "curriculum": 0.95,
    "abrupt_curriculum": 0.81,
    "causal_curriculum": 0.45,
    "trainable": 0.80,
    "headed_decoder": 0.92,
}
COMMAND = "python -m memlab.run +experiment=copy_curriculum"


def report_of(points: list[Point], folder: Path) -> Report:
    return make_report("copy_curriculum", "smoke", points, folder / "report", COMMAND)


def test_the_whole_experiment(make_point: MakePoint, tmp_path: Path) -> None:
    points = [
        make_point(arm, accuracy - 0.03 * (architecture == "transformer"), seed, architecture)
        for architecture in ("transformer", "mixer")
        for arm, accuracy in ACCURACY.items()
        for seed in range(3)
        if (architecture, arm) != ("transformer", "headed_decoder")
    ]
    report = report_of(points, tmp_path)
    written = json.loads((report.folder / "report.json").read_text())
    assert {"experiment", "scale", "rows", "claims"} <= set(written)
    assert len(written["rows"]) == len(points)
    assert all(set(entry) == {"id", "text", "holds", "measured"} for entry in written["claims"])
    verdicts = {entry["id"]: entry["holds"] for entry in written["claims"]}
    assert verdicts["abrupt_curriculum_beats_blank_copy[mixer]"] is False
    assert all(holds for name, holds in verdicts.items() if not name.startswith("abrupt"))
    assert "headed_decoder_beats_flat[transformer]" not in verdicts
    with (report.folder / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["arm"] for line in lines[:6]] == ["no_memory"] * 3 + ["direct_copy"] * 3  # expected.yaml's order
    assert "windows" not in lines[0] and "stages" not in lines[0]
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        assert (report.folder / f"figure{suffix}").read_bytes().startswith(magic)
    text = (report.folder / "report.md").read_text()
    assert COMMAND in text and "figure.png" in text and "does not hold" in text
    assert {file.name for file in report.folder.iterdir()} == {
        *("report.json", "results.csv", "report.md", "figure.png", "figure.svg", "figure.pdf")
    }


@pytest.mark.parametrize("arms", [["no_memory"], ["causal_curriculum", "headed_decoder"]])
def test_a_subset_of_arms_still_makes_a_report(make_point: MakePoint, tmp_path: Path, arms: list[str]) -> None:
    report = report_of([make_point(arm, ACCURACY[arm]) for arm in arms], tmp_path)
    assert len(report.rows) == len(arms)
    assert {entry["holds"] for entry in report.claims} == {None}
    assert (report.folder / "figure.png").is_file()


def test_unfinished_points_are_left_out_and_named(make_point: MakePoint, tmp_path: Path) -> None:
    done, running = make_point("no_memory", 0.3), make_point("curriculum", 0.9)
    (running["stages"][0] / "finished.json").unlink()
    report = report_of([done, running], tmp_path)
    assert [row["arm"] for row in report.rows] == ["no_memory"]
    assert report.unfinished == ["architecture=mixer arm=curriculum seed=0"]
    assert "arm=curriculum" in (report.folder / "report.md").read_text()


def test_no_finished_run_at_all(tmp_path: Path) -> None:
    report = report_of([], tmp_path)
    assert report.rows == [] and not (report.folder / "figure.png").exists()
    print_report(report, Console(file=(tmp_path / "out").open("w")))


def test_the_same_files_give_the_same_report(make_point: MakePoint, tmp_path: Path) -> None:
    points = [make_point(arm, ACCURACY[arm]) for arm in ("no_memory", "curriculum")]
    folder = report_of(points, tmp_path).folder
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    report_of(points, tmp_path)
    assert before == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_costs_add_up_over_the_chain_and_shared_stages_count_once(make_point: MakePoint, tmp_path: Path) -> None:
    points = [make_point(arm, 0.9) for arm in ("curriculum", "direct_copy")]
    report = report_of(points, tmp_path)
    assert {row["arm"]: row["seconds"] for row in report.rows} == {"curriculum": 90.0, "direct_copy": 60.0}
    provenance = json.loads((report.folder / "report.json").read_text())["provenance"]
    assert provenance["seconds"] == 120.0  # autoencoder, main, blank, copy


def test_metrics_are_flat_and_hardware_is_one_cell(make_point: MakePoint) -> None:
    [row] = collect([make_point("blank_copy", 0.9)])
    assert row["capacity/memory_floats"] == 128
    assert row["hardware"] == "cpu made up; cores 2"


def test_a_diverged_run_is_strict_json(make_point: MakePoint, tmp_path: Path) -> None:
    point = make_point("no_memory", 0.3)
    path = point["folder"] / "evaluation.json"
    content = json.loads(path.read_text())
    content["metrics"]["cross_entropy"] = float("nan")
    path.write_text(json.dumps(content))
    report = report_of([point], tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((report.folder / "report.json").read_text(), parse_constant=refuse)


def test_a_missing_file_is_named(make_point: MakePoint, tmp_path: Path) -> None:
    point = make_point("no_memory", 0.3)
    (point["folder"] / "provenance.json").unlink()
    with pytest.raises(ValueError, match=r"provenance\.json is missing"):
        report_of([point], tmp_path)


def test_unknown_experiment_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="copy_curriculum"):
        make_report("nonsense", "smoke", [], tmp_path, "")


def test_tables_are_printed(make_point: MakePoint, tmp_path: Path) -> None:
    report = report_of([make_point(arm, ACCURACY[arm]) for arm in ACCURACY], tmp_path)
    console = Console(record=True, width=220, file=(tmp_path / "out").open("w"))
    print_report(report, console)
    text = console.export_text()
    assert "curriculum_beats_blank_copy" in text and "does not hold" in text and "42.0" in text


def test_reading_reports_needs_no_torch() -> None:
    code = "import sys, memlab.report; sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

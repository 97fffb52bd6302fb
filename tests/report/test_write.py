"""A report from any subset of points: files, contents, tables."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from memlab.report import make_report, print_report, publish, redraw
from memlab.report.collect import Point, collect
from memlab.report.report import Report

MakePoint = Callable[..., Point]
ACCURACY = {
    "no_memory": 0.30,
    "causal_direct_copy": 0.33,
    "memory_direct_copy": 0.34,
    "direct_copy": 0.42,
    "direct_copy_fresh": 0.38,
    "blank_copy": 0.90,
    "blank_copy_longer": 0.92,
    "curriculum": 0.95,
    "abrupt_curriculum": 0.81,
    "causal_curriculum": 0.45,
    "curriculum_no_memory": 0.31,
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
    assert all(set(entry) == {"id", "text", "holds", "verdict", "measured"} for entry in written["claims"])
    verdicts = {entry["id"]: entry["holds"] for entry in written["claims"]}
    assert verdicts["abrupt_curriculum_beats_blank_copy[mixer]"] is False
    assert all(holds for name, holds in verdicts.items() if not name.startswith("abrupt"))
    assert "headed_decoder_beats_flat[transformer]" not in verdicts
    with (report.folder / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["arm"] for line in lines[:6]] == ["no_memory"] * 3 + [
        "causal_direct_copy"
    ] * 3  # expected.yaml's order
    assert "windows" not in lines[0] and "stages" not in lines[0]
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        assert (report.folder / f"figure{suffix}").read_bytes().startswith(magic)
    text = (report.folder / "report.md").read_text()
    assert COMMAND in text and "does not hold" in text
    assert "(figure.png)" in text and "(figure_cost.png)" in text
    assert {file.name for file in report.folder.iterdir()} == {
        *("report.json", "results.csv", "report.md"),
        *(f"{name}{suffix}" for name in ("figure", "figure_cost") for suffix in (".png", ".svg", ".pdf")),
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


def test_metrics_of_several_tables_carry_their_names(make_point: MakePoint) -> None:
    [row] = collect([make_point("trainable", 0.9, tables=("clm", "copy"))])
    assert row["clm/token_accuracy"] == pytest.approx(0.9) and row["copy/token_accuracy"] == pytest.approx(0.7)
    [stage] = row["stages"]
    assert {"clm/token_accuracy", "copy/token_accuracy"} <= set(stage["curve"])


def test_curves_are_of_the_decoder_and_have_what_they_cost(make_point: MakePoint) -> None:
    [row] = collect([make_point("curriculum", 0.9)])
    assert [(stage["name"], stage["of"]) for stage in row["stages"]] == [
        ("autoencoder", "encoder"),
        ("blank", "decoder"),
        ("copy", "decoder"),
    ]
    assert row["stages"][0]["curve"] == {}
    curve = row["stages"][1]["curve"]
    assert curve["steps"] == [50, 100, 150, 200, 250, 300], "rows of training metrics are no validations"
    assert curve["tokens"] == [10 * step for step in curve["steps"]]
    assert curve["seconds"] == [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]
    assert curve["token_accuracy"][0] == float(f"{0.9 * (1 - 2 ** (-50 / 60)):.6g}")


def test_an_encoder_that_is_all_there_is_has_a_curve(make_point: MakePoint) -> None:
    point = make_point("no_memory", 0.9)
    [row] = collect([{**point, "encoder_stages": 1}])
    assert [stage["of"] for stage in row["stages"]] == ["decoder"]


def test_a_curve_has_no_number_where_a_validation_has_none(make_point: MakePoint) -> None:
    point = make_point("no_memory", 0.9)
    path = point["folder"] / "metrics.jsonl"
    rows = [
        {"step": 1, "tokens": 2, "seconds": 3.0, "val/cross_entropy": float("nan"), "val/token_accuracy": 0.5},
        {"step": 4, "tokens": 5, "seconds": 6.0, "val/cross_entropy": 1.0},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [row] = collect([point])
    curve = row["stages"][0]["curve"]
    assert curve["cross_entropy"] == [None, 1.0] and curve["token_accuracy"] == [0.5, None]


def cells(text: str, arm: str) -> dict[str, str]:
    """The line of an arm in report.md, by column; a published column by the metric before it."""
    head, line = (
        next(found for found in text.splitlines() if found.startswith(f"| {start}"))
        for start in ("architecture", f"mixer | {arm}")
    )
    names = [name.strip() for name in head.strip("|").split("|")]
    names = [f"{names[i - 1]}, published" if name.startswith("published") else name for i, name in enumerate(names)]
    return dict(zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=True))


@pytest.mark.parametrize(("seeds", "value"), [(1, r"40\.0 \[.*\]"), (2, r"45\.0 ± 5\.0"), (3, r"50\.0 ± 5\.8")])
def test_the_table_has_means_with_errors_over_seeds(
    make_point: MakePoint, tmp_path: Path, seeds: int, value: str
) -> None:
    points = [make_point("no_memory", 0.4 + 0.1 * seed, seed) for seed in range(seeds)]
    text = (report_of(points, tmp_path).folder / "report.md").read_text()
    found = cells(text, "no memory")
    assert re.fullmatch(value, found["token accuracy (%)"]) and found["seeds"] == str(seeds)


def test_published_values_stand_beside_ours(make_point: MakePoint, tmp_path: Path, experiments: Path) -> None:
    path = experiments / "copy_curriculum" / "expected.yaml"
    entry = {
        "arm": "no_memory",
        "architecture": "mixer",
        "metric": "token_accuracy",
        "value": 0.123,
        "source": "page 9",
    }
    path.write_text(path.read_text().replace("published: []", f"published: [{json.dumps(entry)}]"))
    report = report_of([make_point(arm, 0.4) for arm in ("no_memory", "trainable")], tmp_path)
    text = (report.folder / "report.md").read_text()
    assert cells(text, "no memory")["token accuracy (%), published"] == "12.3"
    assert cells(text, "trainable")["token accuracy (%), published"] == "-"
    assert "entropy ratio, published" not in cells(text, "no memory")
    assert "published, full size" in text and "page 9" in text
    assert "published, full size" in (report.folder / "figure.svg").read_text()


def test_committed_results_redraw_the_report_without_run_folders(
    make_point: MakePoint, tmp_path: Path, experiments: Path
) -> None:
    points = [make_point(arm, ACCURACY[arm], seed) for arm in ("no_memory", "curriculum") for seed in range(3)]
    command = f"{COMMAND} runs_dir=/somewhere/private seed=0,1,2"
    report = make_report("copy_curriculum", "smoke", points, tmp_path / "report", command)
    written = publish(report, "smoke")
    results = experiments / "copy_curriculum" / "results"
    assert written == [
        results / name
        for name in (
            *("smoke.csv", "smoke.json", "figure_smoke.png", "figure_smoke.pdf"),
            *("figure_cost_smoke.png", "figure_cost_smoke.pdf", "smoke.md"),
        )
    ]
    kept = (results / "smoke.json").read_text()
    assert "/somewhere" not in kept and '"correct"' not in kept
    assert len(kept) < 100_000 and max(map(len, kept.splitlines())) > 60, "a list of numbers is one line"
    shutil.rmtree(tmp_path / "stages")
    again = redraw("copy_curriculum", "smoke", tmp_path / "again")
    assert again.claims == json.loads(kept)["claims"]
    assert [row["token_accuracy"] for row in again.rows] == [row["token_accuracy"] for row in report.rows]
    for name in ("figure.png", "figure_cost.pdf", "results.csv"):
        assert (again.folder / name).read_bytes() == (report.folder / name).read_bytes(), name
    assert json.loads((again.folder / "report.json").read_text()) == json.loads(kept)


def test_results_of_the_default_scale_own_the_plain_picture(
    make_point: MakePoint, tmp_path: Path, experiments: Path
) -> None:
    names = [path.name for path in publish(report_of([make_point("no_memory", 0.3)], tmp_path), "laptop")]
    assert names[2:] == ["figure.png", "figure.pdf", "figure_cost.png", "figure_cost.pdf", "laptop.md"]
    text = (experiments / "copy_curriculum" / "results" / "laptop.md").read_text()
    assert "](figure.png)" in text and "](figure_cost.png)" in text and "runs_dir" not in text


def test_one_seed_without_its_windows_is_drawn_without_interval(
    make_point: MakePoint, tmp_path: Path, experiments: Path
) -> None:
    report = report_of([make_point("no_memory", 0.3)], tmp_path)
    publish(report, "smoke")
    again = redraw("copy_curriculum", "smoke", tmp_path / "again")
    assert "95 % intervals" in (report.folder / "figure.svg").read_text()
    assert "95 % intervals" not in (again.folder / "figure.svg").read_text()
    assert cells((again.folder / "report.md").read_text(), "no memory")["token accuracy (%)"] == "30.0"


def test_dirty_code_stays_dirty_in_committed_results(make_point: MakePoint, tmp_path: Path, experiments: Path) -> None:
    points = [make_point(arm, 0.3) for arm in ("no_memory", "trainable")]
    path = points[0]["folder"] / "provenance.json"
    path.write_text(path.read_text().replace("false", "true"))
    publish(report_of(points, tmp_path), "smoke")
    kept = json.loads((experiments / "copy_curriculum" / "results" / "smoke.json").read_text())
    assert kept["provenance"]["dirty"] is True
    assert [row["dirty"] for row in kept["rows"]] == [True, False]


def test_results_that_are_not_there_are_named(tmp_path: Path, experiments: Path) -> None:
    with pytest.raises(ValueError, match="no committed results 'nonsense'"):
        redraw("copy_curriculum", "nonsense", tmp_path)


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
    assert "curriculum_beats_blank_copy[mixer]" in text and "does not hold" in text and "42.0" in text


def test_reading_reports_needs_no_torch() -> None:
    code = "import sys, memlab.report; sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

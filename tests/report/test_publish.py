"""Committed results: what they hold, what they must not hold, and the report that is drawn from them."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from memlab.errors import UserError
from memlab.report import make_report, publish, redraw
from memlab.report.collect import Point
from memlab.report.write import public
from tests.report.test_write import ACCURACY, COMMAND, cells, report_of

MakePoint = Callable[..., Point]


def test_every_stage_says_where_it_comes_from(make_point: MakePoint, tmp_path: Path, experiments: Path) -> None:
    """In the rows and in every committed file: a dirty encoder under a clean decoder is no clean result."""
    point = make_point("curriculum", 0.9)
    encoder = point["stages"][0]
    old = {"commit": "0ld", "dirty": True, "hardware": {"cpu": "older"}, "versions": {"torch": "2.11.0"}}
    provenance = json.loads((encoder / "provenance.json").read_text()) | old
    (encoder / "provenance.json").write_text(json.dumps(provenance))
    report = report_of([point], tmp_path)
    [row] = report.rows
    assert [(stage["commit"], stage["dirty"]) for stage in row["stages"]] == [("0ld", True)] + [("abc123", False)] * 2
    assert row["stages"][1]["versions"] == "python 3.12.1; torch 2.13.0"
    assert (row["commit"], row["dirty"], row["hardware"]) == ("0ld | abc123", True, "cpu older | cpu made up; cores 2")

    publish(report, "smoke")
    results = experiments / "copy_curriculum" / "results"
    kept = json.loads((results / "smoke.json").read_text())
    assert [stage["commit"] for stage in kept["rows"][0]["stages"]] == ["0ld", "abc123", "abc123"]
    assert kept["provenance"]["commits"] == ["0ld", "abc123"] and kept["provenance"]["dirty"] is True
    [line] = csv.DictReader((results / "smoke.csv").open())
    assert line["stages"].split() == [
        f"{stage['run']}@{'0ld+uncommitted' if stage is row['stages'][0] else 'abc123'}" for stage in row["stages"]
    ]
    page = (results / "smoke.md").read_text()
    assert f"| 0ld | yes | cpu older | torch 2.11.0 | {encoder.name} |" in page
    others = ", ".join(path.name for path in point["stages"][1:])
    assert f"| abc123 | no | cpu made up; cores 2 | python 3.12.1; torch 2.13.0 | {others} |" in page


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
            *("smoke.csv", "smoke.json", "figure_smoke.pdf", "figure_smoke.png"),
            *("figure_claims_smoke.pdf", "figure_claims_smoke.png"),
            *("figure_cost_smoke.pdf", "figure_cost_smoke.png", "smoke.md"),
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
    assert names[2:] == ["figure.pdf", "figure.png", "figure_cost.pdf", "figure_cost.png", "laptop.md"]
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
    assert "| abc123 | yes |" in (experiments / "copy_curriculum" / "results" / "smoke.md").read_text()


def test_results_that_are_not_there_are_named(tmp_path: Path, experiments: Path) -> None:
    with pytest.raises(ValueError, match="no committed results 'nonsense'"):
        redraw("copy_curriculum", "nonsense", tmp_path)


@pytest.mark.parametrize(
    ("private", "kept"),
    [
        ("runs_dir=/scratch/me/runs", ""),
        ("data=text_files 'data.path=/home/me/my texts'", "data=text_files"),
        ("data.path=texts", ""),
        ("data@evaluation.data=text_files ++evaluation.data.path=/x", "data@evaluation.data=text_files"),
        ("logger=wandb logger.project=secret +logger.entity=me", ""),
        ("hydra/launcher=slurm hydra.launcher.partition=gpu hydra.sweep.dir=x", ""),
        ("encoder=from_run encoder.run=/scratch/me/runs/stages/copy-0123", "encoder=from_run"),
        ("'data.files=[/home/me/a.txt,b.txt]' 'x={y:~/z}' z=../up", ""),
        ("optimizer.betas=[0.9,0.95] seed=0,1,2", "'optimizer.betas=[0.9,0.95]' seed=0,1,2"),
        ("arm=a/b +trainer.x=1/2", "arm=a/b +trainer.x=1/2"),
    ],
)
def test_committed_commands_hold_no_places_of_this_machine(private: str, kept: str) -> None:
    assert public(f"{COMMAND} {private} scale=gpu") == " ".join(filter(None, (COMMAND, kept, "scale=gpu")))


def test_results_of_an_older_version_are_redrawn(tmp_path: Path, experiments: Path) -> None:
    """Their stages have no commits of their own, their claims no p-values."""
    [source] = Path(__file__).parents[2].glob("experiments/copy_curriculum/results/laptop.json")
    results = experiments / "copy_curriculum" / "results"
    results.mkdir()
    old = json.loads(source.read_text())
    for row in old["rows"]:
        for stage in row["stages"]:
            for key in ("commit", "dirty", "hardware", "versions"):
                stage.pop(key, None)
        row |= {"commit": "c9808c4", "hardware": "cpu old", "dirty": False}
    for entry in old["claims"]:
        for key in ("p_value", "p_holm", "holds_after_holm"):
            entry.pop(key, None)
    (results / "laptop.json").write_text(json.dumps(old))
    report = redraw("copy_curriculum", "laptop", tmp_path / "again")
    page = (report.folder / "report.md").read_text()
    assert "| c9808c4 | no | cpu old | unknown | " in page and "adjusted for" not in page
    assert json.loads((report.folder / "report.json").read_text())["provenance"]["commits"] == ["c9808c4"]


def test_damaged_results_are_named(tmp_path: Path, experiments: Path) -> None:
    (experiments / "copy_curriculum" / "results").mkdir()
    (experiments / "copy_curriculum" / "results" / "laptop.json").write_text("{")
    with pytest.raises(UserError, match=r"laptop\.json cannot be read"):
        redraw("copy_curriculum", "laptop", tmp_path)

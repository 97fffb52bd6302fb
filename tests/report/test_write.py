"""A report from any subset of points: files, contents, tables."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from memlab.errors import UserError
from memlab.report import make_report, print_report
from memlab.report.collect import Point
from memlab.report.report import Report
from memlab.report.terminal import claim_lines
from memlab.report.writers import WRITERS, write_all
from tests.report.conftest import SCORE

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
    keys = {"id", "text", "holds", "verdict", "p_value", "p_holm", "holds_after_holm", "measured"}
    assert all(set(entry) == keys for entry in written["claims"])
    verdicts = {entry["id"]: entry["holds"] for entry in written["claims"]}
    assert verdicts["abrupt_curriculum_beats_blank_copy[mixer]"] is False
    assert all(holds for name, holds in verdicts.items() if not name.startswith("abrupt"))
    assert "headed_decoder_beats_flat[transformer]" not in verdicts
    with (report.folder / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["arm"] for line in lines[:6]] == ["no_memory"] * 3 + [
        "causal_direct_copy"
    ] * 3  # expected.yaml's order
    assert "windows" not in lines[0]
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        assert (report.folder / f"figure{suffix}").read_bytes().startswith(magic)
    text = (report.folder / "report.md").read_text()
    assert COMMAND in text and "does not hold" in text
    assert (
        "In short: token accuracy (%); mixers: " in text and " ± " in text.partition("In short")[2].partition("\n")[0]
    )
    along = text.partition("## Claims along training")[2]
    assert "| curriculum_beats_blank_copy[mixer] | curriculum | blank_copy |" in along
    assert "seeds to decide" in text
    assert "(figure.png)" in text and "(figure_cost.png)" in text
    assert {file.name for file in report.folder.iterdir()} == {
        *("report.json", "results.csv", "report.md"),
        *(
            f"{name}{suffix}"
            for name in ("figure", "figure_claims", "figure_cost")
            for suffix in (".png", ".svg", ".pdf")
        ),
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


def test_a_diverged_run_is_strict_json(make_point: MakePoint, tmp_path: Path) -> None:
    point = make_point("no_memory", 0.3)
    path = point["folder"] / SCORE
    content = json.loads(path.read_text())
    content["metrics"]["copy"]["cross_entropy"] = float("nan")
    path.write_text(json.dumps(content))
    report = report_of([point], tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((report.folder / "report.json").read_text(), parse_constant=refuse)


def test_a_missing_file_is_named(make_point: MakePoint, tmp_path: Path) -> None:
    point = make_point("no_memory", 0.3)
    (point["folder"] / "provenance.json").unlink()
    with pytest.raises(UserError, match=r"provenance\.json is missing"):
        report_of([point], tmp_path)


def test_a_report_is_what_its_writers_write(make_point: MakePoint, tmp_path: Path) -> None:
    """Each returns the files that it wrote; one more kind of file is one more writer in the list."""

    class Names:
        def write(self, report: Report, folder: Path) -> list[Path]:
            (folder / "names.txt").write_text(" ".join(row["arm"] for row in report.rows))
            return [folder / "names.txt"]

    report = report_of([make_point("no_memory", 0.3), make_point("curriculum", 0.9)], tmp_path)
    written = write_all(report, tmp_path / "more", [*WRITERS, Names()])
    assert sorted(written) == sorted((tmp_path / "more").iterdir())
    assert written[-1].read_text() == "no_memory curriculum"
    for path in written[:-1]:
        assert path.read_bytes() == (report.folder / path.name).read_bytes()


def test_unknown_experiment_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="copy_curriculum"):
        make_report("nonsense", "smoke", [], tmp_path, "")


def test_tables_are_printed(make_point: MakePoint, tmp_path: Path) -> None:
    report = report_of([make_point(arm, ACCURACY[arm]) for arm in ACCURACY], tmp_path)
    console = Console(record=True, width=220, file=(tmp_path / "out").open("w"))
    print_report(report, console)
    text = console.export_text()
    assert "42.0" in text and "in short: token accuracy (%); mixers: " in text
    (claim,) = (claim for claim in report.claims if claim["id"] == "curriculum_beats_blank_copy[mixer]")
    assert f"\n{claim['text']}\n  {claim['verdict']}" in text


def test_a_claim_is_told_in_plain_words(make_point: MakePoint, tmp_path: Path) -> None:
    points = [make_point(arm, value, seed) for arm, value in ACCURACY.items() for seed in range(3)]
    report = report_of(points, tmp_path)
    lines = [line.plain for line in claim_lines(report)]
    words = {claim["text"] for claim in report.claims}
    told = [line for line in lines if line not in words]
    assert len(lines) == len(words) + len(told) and len(told) == len(report.claims)
    (claim,) = (claim for claim in report.claims if claim["id"] == "no_memory_is_lowest[mixer]")
    line = told[report.claims.index(claim)]
    assert line.startswith(f"  {claim['verdict']}") and "mixer: " in line and " against no memory " in line
    assert f": {100 * claim['measured']['difference']:+.1f} [" in line and "points, needed +1.0; 3 seeds" in line


def test_an_undecided_claim_says_what_would_decide_it(make_point: MakePoint, tmp_path: Path) -> None:
    report = report_of([make_point("no_memory", 0.3 + 0.05 * seed, seed) for seed in range(3)], tmp_path)
    report.claims[0]["measured"] |= {
        "difference": 0.02,
        "interval": [-0.01, 0.05],
        "seeds": [0, 1, 2],
        "seeds_needed": 12,
        "left": {"arm": "curriculum", "metric": "token_accuracy", "value": 0.97},
        "right": {"value": 0.95, "metric": "token_accuracy"},
    }
    report.claims[0]["verdict"] = "undecided"
    _, line, *_ = claim_lines(report)
    assert line.plain.endswith(
        "curriculum 97.0 against 95.0: +2.0 [-1.0, +5.0] points, needed +1.0; 3 seeds, 12 would decide"
    )
    unmeasured = next(claim for claim in report.claims[1:] if claim["verdict"] == "not measured")
    assert any(unmeasured["measured"]["reason"] in line.plain for line in claim_lines(report))


@pytest.mark.parametrize("module", ["memlab.report", "memlab.report.of_sweep", "memlab.report.__main__"])
def test_reports_need_neither_torch_nor_hydra(module: str) -> None:
    heavy = "{'torch', 'lightning', 'hydra', 'omegaconf', 'matplotlib', 'scipy'}"
    code = f"import sys, {module}; print(*({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []


def test_the_page_corrects_for_several_claims(make_point: MakePoint, tmp_path: Path) -> None:
    points = [make_point(arm, value, seed) for arm, value in ACCURACY.items() for seed in range(3)]
    report = report_of(points, tmp_path)
    text = (report.folder / "report.md").read_text()
    tested = [entry for entry in report.claims if entry["p_value"] is not None]
    assert len(tested) > 5 and f"adjusted for the {len(tested)} claims tested here" in text
    head = next(line for line in text.splitlines() if line.startswith("| claim"))
    assert "| p | p (Holm) | after Holm |" in head

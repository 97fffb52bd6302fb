"""Rows of speeds: ratios taken round by round, intervals over repetitions, and the reports made of them."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from memlab.bench.cost_model import CostModel
from memlab.config import paths
from memlab.errors import UserError
from memlab.report import make_report, publish, redraw
from memlab.report.collect import Point, Row, is_finished
from memlab.report.measured import median_ratio
from memlab.report.of_sweep import print_next, read_points, write_points
from memlab.report.uncertainty import estimate
from memlab.report.writers import figure_module
from memlab.storage.files import write_json

MODEL = CostModel(a=1e-4, b=1e-6, c=1e-8, d=0.0, e=1e-8)
READ = {f"read_{n}/{n // length}": [MODEL.seconds(n, n // length)] for n in (512, 4096) for length in (4, 8, 16, 32)}
STEPS = {"full_context": 1.0, "no_memory": 0.9, "recurrent": 1.1, "memory": 2.0, "memory_frozen": 1.4}


def rounds_of(arm: str, seed: int) -> dict[str, list[float]]:
    """Made-up numbers. A round in which the machine was slow is slow for all arms."""
    if arm.startswith("reading"):
        return READ
    slow = [1.0, 5.0, 1.0 + 0.1 * seed]
    found = {"step_seconds": [STEPS[arm] * of for of in slow], "tokens": [64.0], "peak_bytes": [STEPS[arm] * 2**20]}
    found["operations"] = [1e6]
    for context in (64, 256) if arm != "recurrent" else (64, 256, 1024):
        grown = context if arm == "full_context" else 64
        costs = {"first_token_seconds": context * STEPS[arm], "token_seconds": grown * 1e-3, "state_bytes": 8.0 * grown}
        found |= {f"at_{context}/{name}": [value * of for of in slow] for name, value in costs.items()}
        found[f"at_{context}/state_bytes"] = [costs["state_bytes"]] * 3
    return found


def row_of(arm: str, seed: int, architecture: str = "mixer") -> Row:
    about = {"commit": "abc", "dirty": False, "hardware": "made up"}
    stage = {
        "run": f"throughput-0/repetition-{seed}",
        "name": "repetition",
        "of": "measurement",
        "steps": 0,
        "tokens": 0,
    }
    choices = {"architecture": architecture, "arm": arm, "encoder": "none", "curriculum": "clm", "seed": seed}
    rounds = rounds_of(arm, seed)
    measured = {"tokens_per_second": 64 / STEPS[arm]} if arm in STEPS else {}
    costs = {"steps": 3, "tokens": 192, "seconds": 3.0, "run": "throughput-0", "windows": {}, "places": {}}
    stages = [{**stage, "seconds": 60.0, **about, "versions": "made up", "curve": {}}]
    return {**choices, **measured, **costs, **about, "other_cores": 0.0, "stages": stages, "rounds": rounds}


def points_in(folder: Path, arms: list[str], seeds: range) -> list[Point]:
    """Write the files of a measurement, and return its points."""
    points: list[Any] = []
    for seed in seeds:
        rows = [row_of(arm, seed) for arm in arms]
        write_json(folder / f"repetition-{seed}.json", {"rows": rows})
        for row in rows:
            choices = {key: row[key] for key in ("architecture", "arm", "encoder", "curriculum", "seed")}
            file = f"repetition-{seed}.json"
            points.append({"choices": choices, "folder": folder, "measured": file, "stages": [], "encoder_stages": 0})
    return points


ARMS = [*STEPS, "reading", "reading_narrow"]


@pytest.fixture
def points(tmp_path: Path) -> list[Point]:
    return points_in(tmp_path / "runs" / "measurements" / "throughput-0", ARMS, range(3))


def test_a_ratio_is_taken_within_each_round_before_the_median() -> None:
    """The ratios are 4, 1 and 2; the ratio of the medians would be 3 / 2."""
    above, below = {"rounds": {"x": [4.0, 2.0, 3.0]}}, {"rounds": {"x": [1.0, 2.0, 1.5]}}
    assert median_ratio(above, below, "x") == 2
    assert median_ratio(above, {"rounds": {}}, "x") is None and median_ratio({}, below, "x") is None


def test_ratios_of_arms_and_their_growth_are_derived() -> None:
    derived = {row["arm"]: row for row in figure_module("throughput").derive([row_of(arm, 1) for arm in ARMS])}
    frozen, memory, recurrent = (derived[arm] for arm in ("memory_frozen", "memory", "recurrent"))
    assert frozen["speed_vs_memory"] == pytest.approx(2.0 / 1.4) == pytest.approx(frozen["peak_vs_memory"])
    assert memory["speed_vs_full_context"] == pytest.approx(0.5) and memory["peak_of_full_context"] == pytest.approx(2)
    assert memory["longest/context"] == recurrent["longest/context"] == 256, "full context has no number at 1,024"
    assert memory["longest/first_token_ratio"] == pytest.approx(0.5)
    assert memory["longest/token_ratio"] == memory["longest/state_ratio"] == pytest.approx(4)
    assert derived["full_context"]["state_growth"] == 4 and recurrent["state_growth"] == 1
    assert derived["reading"]["fitted_exponent"] == pytest.approx(2 / 3)
    assert derived["reading"]["fit_error"] == pytest.approx(0, abs=1e-6)
    assert 0.5 < derived["reading"]["best_chunks_exponent"] < 0.8
    assert "speed_vs_memory" not in derived["reading"]


def test_an_arm_without_its_reference_has_no_ratio() -> None:
    [alone] = figure_module("throughput").derive([row_of("memory", 0)])
    assert "speed_vs_full_context" not in alone and "longest/state_ratio" not in alone
    assert alone["speed_vs_memory"] == 1
    others = figure_module("throughput").derive([row_of("memory", 0), row_of("full_context", 1)])
    assert not any("speed_vs_full_context" in row for row in others if row["arm"] == "memory"), "another repetition"


def test_claims_are_judged_by_intervals_over_repetitions(points: list[Point], tmp_path: Path) -> None:
    report = make_report("throughput", "smoke", points, tmp_path / "report", "command")
    claims = {claim["id"].partition("[")[0]: claim for claim in report.claims}
    measured = claims["frozen_trains_faster"]["measured"]
    assert claims["frozen_trains_faster"]["verdict"] == "holds" and measured["seeds"] == [0, 1, 2]
    assert measured["difference"] == pytest.approx(2.0 / 1.4 - 1) and measured["method"] == "t interval over 3 seeds"
    assert claims["half_encoder_within_twenty_percent"]["verdict"] == "not measured", "that arm is not there"
    assert claims["recurrent_state_does_not_grow"]["holds"] and claims["state_smaller"]["holds"]
    assert not claims["first_token_sooner"]["holds"]
    page = (tmp_path / "report" / "report.md").read_text()
    assert "A seed is a repetition here" in page and "throughput-0/repetition-2" in page
    assert "3.0 minutes" in page, "a repetition's time counts once for all arms"
    for name in ("figure", "figure_decoding", "figure_chunks"):
        assert (tmp_path / "report" / f"{name}.png").stat().st_size > 10_000


def test_an_interval_over_repetitions_is_student_s() -> None:
    values = [0.5, 0.6, 0.4]
    rows = [row_of(arm, seed) for arm in ("memory", "full_context") for seed in range(3)]
    for row in rows[3:]:  # full context's
        row["rounds"] = {
            "step_seconds": [values[row["seed"]] * of for of in rows[row["seed"]]["rounds"]["step_seconds"]]
        }
    derived = figure_module("throughput").derive(rows)[:3]
    assert [row["speed_vs_full_context"] for row in derived] == pytest.approx(values)
    interval = estimate(derived, "speed_vs_full_context")
    half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert (interval.low, interval.value, interval.high) == pytest.approx((0.5 - half, 0.5, 0.5 + half))


def test_published_results_redraw_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "experiments"
    shutil.copytree(paths.experiments() / "throughput", folder / "throughput", ignore=shutil.ignore_patterns("results"))
    monkeypatch.setattr(paths, "experiments", lambda: folder)
    points = points_in(tmp_path / "runs" / "throughput-0", ["memory", "full_context"], range(3))
    report = make_report("throughput", "smoke", points, tmp_path / "report", "command")
    publish(report, "smoke")
    results = folder / "throughput" / "results"
    assert (results / "figure_decoding_smoke.png").is_file() and "rounds" not in (results / "smoke.csv").read_text()
    shutil.rmtree(tmp_path / "runs")
    again = redraw("throughput", "smoke", tmp_path / "again")
    assert again.claims == json.loads(json.dumps(report.claims))
    assert (tmp_path / "again" / "figure_decoding.png").is_file()
    kept = json.loads((results / "smoke.json").read_text())["rows"]
    back = make_report("throughput", "smoke", points, tmp_path / "back", "command", kept)
    assert len(back.rows) == len(report.rows) and not back.unfinished, "committed rows of that very measurement stay"


def test_points_are_read_as_they_were_written(points: list[Point], tmp_path: Path) -> None:
    write_points(tmp_path / "report", ["+experiment=throughput"], points)
    assert read_points(tmp_path / "report", tmp_path / "runs") == points
    assert all(map(is_finished, points))
    shutil.rmtree(tmp_path / "runs")
    assert not any(map(is_finished, points))


def test_a_damaged_file_is_named(points: list[Point], tmp_path: Path) -> None:
    for content in ("{", "[]", '{"rows": [{}]}'):
        (Path(points[0]["folder"]) / "repetition-0.json").write_text(content)
        with pytest.raises(UserError, match=r"repetition-0\.json cannot be read .*: delete it and measure again"):
            make_report("throughput", "smoke", points, tmp_path / "report", "command")


def test_what_comes_next_keeps_the_repetitions(
    points: list[Point], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = make_report("throughput", "smoke", points, tmp_path / "report", "command")
    print_next(report, ["+experiment=throughput", "seed=0,1,2,3"])
    lines = capsys.readouterr().out.splitlines()
    assert "  python -m memlab.run +experiment=throughput seed=0,1,2,3 architecture=mixer,transformer" in lines
    assert "or this report again, from what was measured" in lines

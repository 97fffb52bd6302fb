"""What the page shows, from run folders and from committed results."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from memlab.config import paths
from memlab.dashboard import contents as module
from memlab.dashboard.contents import RunsReader, as_json, committed_contents
from memlab.dashboard.curves import curves, thinned
from memlab.dashboard.reports import ReportReader, as_entry
from memlab.dashboard.samples import marked
from memlab.errors import UserError
from memlab.report import committed
from memlab.report.report import as_dict
from memlab.report.write import assemble
from memlab.storage.files import write_json
from memlab.storage.lock import Lock
from memlab.storage.run_folder import RunFolder
from tests.dashboard.conftest import SAMPLE, STEPS, MakeRuns, log, write_config
from tests.report.conftest import SCORE


def test_a_runs_folder_is_shown_as_its_report_and_its_stages(make_runs: MakeRuns) -> None:
    found = RunsReader(make_runs(["blank_copy", "curriculum"], seeds=3)).read()
    (report,) = found["reports"]
    assert (report["id"], len(report["rows"])) == ("copy_curriculum/laptop", 6)
    assert report["command"] == "python -m memlab.run +experiment=copy_curriculum"
    assert report["lines"] == [["mixer", "blank_copy"], ["mixer", "curriculum"]]
    row = report["rows"][0]
    assert row["values"]["token_accuracy"] == pytest.approx(0.3) and row["arm"] == "blank_copy"
    assert row["places"][""]["token_accuracy"] == [
        None,
        *(pytest.approx(part * 0.3 / 64, rel=1e-5) for part in (60, 50)),
    ]
    assert [stage["run"] for stage in row["stages"]] == ["autoencoder-mixer0", "copy-mixer0000"]
    claim = next(claim for claim in report["tables"]["claims"] if claim[0] == "curriculum_beats_blank_copy[mixer]")
    assert claim[1] == "holds" and "+10.0" in claim[4]
    stage = found["stages"]["copy-mixer0000"]
    assert (stage["state"], stage["step"], stage["steps"], stage["start"]) == (
        "finished",
        300,
        300,
        "autoencoder-mixer0",
    )
    assert stage["curves"]["train"]["steps"] == [10, *range(10, STEPS + 1, 10)]
    assert stage["curves"]["val"]["steps"] == [50, 100, 150, 200, 250, 300]
    assert stage["samples"] == [marked(SAMPLE)] and stage["commit"] == "abc123"
    assert found["totals"]["counts"] == {"finished": 9} and not found["problems"]


def test_what_runs_and_what_waits_has_a_time_left(make_runs: MakeRuns) -> None:
    runs = make_runs(["blank_copy"], waiting=["curriculum", "direct_copy"])
    run = RunFolder(runs, "copy", "mixer0010")  # curriculum's
    write_config(run, 0, "mixer", ["curriculum"], "mixer0")
    lock = Lock(run.lock)
    assert lock.take()
    try:
        log(run, 100)
        reader = RunsReader(runs)
        found = reader.read()
        stage = found["stages"][run.path.name]
        assert (stage["state"], stage["step"], stage["left"]) == ("running", 100, 20.0), "0.1 s per step"
        waiting = found["stages"]["copy-mixer0020"]
        assert (waiting["state"], waiting["arms"], waiting["start"]) == (
            "waiting",
            ["direct_copy"],
            "autoencoder-mixer0",
        )
        assert waiting["left"] == 30.0, "as long as the finished stage of its name"
        assert found["totals"] == {
            "counts": {"finished": 2, "running": 1, "waiting": 1}, "left": 50.0, "unknown": 0, "failed": 0,
        }  # fmt: skip
        log(run, 200)
        assert reader.read()["stages"][run.path.name]["step"] == 200
    finally:
        lock.release()
    assert reader.read()["stages"][run.path.name]["state"] == "stopped"
    run.note_failure("the disk is full")
    failed = reader.read()["stages"][run.path.name]
    assert (failed["state"], failed["note"]) == ("failed", "the disk is full")


def test_what_has_not_changed_is_not_read_again(make_runs: MakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = make_runs(["blank_copy", "curriculum"])
    reader = RunsReader(runs)
    before = reader.read()
    read: list[Path] = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or original(path))
    again = reader.read()
    assert {path.name for path in read} == {"points.json"}
    assert {**again, "made": ""} == {**before, "made": ""}
    score = next(runs.glob(f"stages/copy-*/{SCORE}"))
    os.utime(score, ns=(1, 1))
    reader.read()
    assert score in read


def test_a_sweep_without_a_finished_point_shows_its_stages_alone(make_runs: MakeRuns) -> None:
    found = RunsReader(make_runs([], waiting=["blank_copy"])).read()
    assert not found["reports"]
    assert {stage["state"] for stage in found["stages"].values()} == {"finished", "waiting"}


def test_damage_is_said_and_the_rest_is_shown(make_runs: MakeRuns) -> None:
    runs = make_runs(["blank_copy"])
    (runs / "reports" / "copy" / "laptop").mkdir(parents=True)
    (runs / "reports" / "copy" / "laptop" / "points.json").write_text("{")
    write_json(runs / "reports" / "unknown_experiment" / "laptop" / "points.json", [])
    (runs / "stages" / "copy-mixer0000" / "provenance.json").write_text("not JSON")
    (runs / "stages" / "autoencoder-mixer0" / "metrics.jsonl").write_bytes(b"\xff{}")
    found = RunsReader(runs).read()
    assert len(found["problems"]) == 3 and not found["reports"]
    assert any("copy/laptop" in problem for problem in found["problems"])
    assert any("no experiment 'unknown_experiment'" in problem for problem in found["problems"])
    assert any("provenance.json" in problem for problem in found["problems"])
    assert found["stages"]["copy-mixer0000"]["commit"] is None
    assert found["stages"]["autoencoder-mixer0"]["curves"] == {}
    json.loads(as_json(found))


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--from-results"):
        RunsReader(tmp_path).read()


def test_committed_results_are_shown_whole() -> None:
    found = committed_contents()
    names = [(path.name, name) for path in sorted(paths.experiments().iterdir()) for name in committed(path.name)]
    assert [(report["experiment"], report["name"]) for report in found["reports"]] == names != []
    for report in found["reports"]:
        results = paths.experiments() / report["experiment"] / "results"
        kept = json.loads((results / f"{report['name']}.json").read_text())
        assert len(report["rows"]) == len(kept["rows"])
        for row, other in zip(report["rows"], kept["rows"], strict=True):
            expected = {metric: other[metric] for metric in report["main"] if metric in other}
            assert {metric: row["values"].get(metric) for metric in expected} == pytest.approx(expected, rel=1e-5)
            for stage in row["stages"]:
                assert found["stages"][stage["run"]]["state"] == "finished"
        assert [claim["id"] for claim in report["claims"]] == [claim["id"] for claim in kept["claims"]]
        assert all(claim["source"] for claim in report["claims"])


def test_committed_rows_keep_reconstructions(make_runs: MakeRuns) -> None:
    """A row of report.json has what the page over committed results shows of its stages."""
    runs = make_runs(["blank_copy", "curriculum"], samples=[SAMPLE] * 8)
    ((sweep,), _) = ReportReader(runs).sweeps()
    report = assemble("copy_curriculum", "laptop", sweep.points, runs, "command")
    kept = json.loads(json.dumps(as_dict(report)))["rows"]
    assert [row["samples"] for row in kept] == [[SAMPLE] * 4] * 2
    stages = module._stages_of([as_entry(replace(report, rows=kept), "laptop")])
    copy = stages["copy-mixer0010"]
    assert (copy["start"], copy["arms"], copy["samples"]) == (
        "autoencoder-mixer0",
        ["curriculum"],
        [marked(SAMPLE)] * 4,
    )
    assert copy["curves"]["val"]["steps"] == [50, 100, 150, 200, 250, 300]
    assert stages["autoencoder-mixer0"]["arms"] == ["blank_copy", "curriculum"]


def test_large_contents_lose_detail_before_they_are_refused(
    make_runs: MakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = RunsReader(make_runs(["blank_copy", "curriculum"], samples=[SAMPLE] * 8))
    whole = reader.read()
    size = len(as_json(whole))
    monkeypatch.setattr(module, "DETAILS", ((200, 8), (20, 1), (5, 0)))
    monkeypatch.setattr(module, "LIMIT", size - 1)
    less = reader.read()["stages"]["copy-mixer0000"]
    assert len(less["curves"]["train"]["steps"]) == 20 and len(less["samples"]) == 1
    monkeypatch.setattr(module, "LIMIT", 100)
    with pytest.raises(UserError, match="too many for one page"):
        reader.read()


def test_thinned_curves_keep_their_end() -> None:
    curve = {"steps": [*range(1, 1001)], "loss": [*range(1000)]}
    less = thinned(curve, 7)
    assert len(less["steps"]) == len(less["loss"]) == 7 and less["steps"][-1] == 1000
    assert less["loss"] == [step - 1 for step in less["steps"]]
    assert thinned(curve, 1000) == curve


def test_curves_are_told_apart_and_hold_no_infinity() -> None:
    rows = [
        {"step": 1, "tokens": 2, "seconds": 0.5, "train/loss": float("inf")},
        {"step": 2, "tokens": 4, "seconds": 1.0, "train/loss": 1.23456789, "train/more": 1},
        {"step": 2, "tokens": 4, "seconds": 1.5, "val/loss": float("nan")},
    ]
    train = {"steps": [1, 2], "tokens": [2, 4], "seconds": [0.5, 1.0], "loss": [None, 1.23457], "more": [None, 1]}
    assert curves(rows) == {
        "val": {"steps": [2], "tokens": [4], "seconds": [1.5], "loss": [None]},
        "train": train,
    }


def test_samples_of_older_runs_are_compared_by_letters() -> None:
    found = marked({"text": "a cat sat", "regenerated": "a hat sat!"})
    assert found["by"] == "characters"
    assert found["parts"] == [
        ["a ", "a ", True, None],
        ["c", "h", False, None],
        ["at sat", "at sat", True, None],
        ["", "!", False, None],
    ]
    new = marked(SAMPLE)
    assert new["by"] == "tokens" and new["parts"][1] == ["f", "g", False, 1]


def test_neither_torch_nor_hydra_is_imported(make_runs: MakeRuns, tmp_path: Path, environment: dict[str, str]) -> None:
    runs = make_runs(["blank_copy"])
    code = (
        "import sys; from memlab.dashboard.__main__ import main\n"
        f"sys.argv = ['dashboard', '--runs-dir', {str(runs)!r}, '--out', {str(tmp_path / 'page.html')!r}]\n"
        "main(); print([name for name in ('torch', 'hydra', 'omegaconf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout
    assert "1 reports, 2 stages" in done.stdout

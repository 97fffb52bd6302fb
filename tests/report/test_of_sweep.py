"""The points of a sweep as it wrote them down, and what is printed at its end."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memlab import progress
from memlab.config.compose import Sweep, compose_sweep
from memlab.config.plan import plan
from memlab.errors import UserError
from memlab.report.collect import Point, is_finished
from memlab.report.of_sweep import (
    COMMAND_FILE,
    POINTS_FILE,
    NothingFinishedError,
    find_points,
    make_committed_report,
    make_sweep_report,
    print_next,
    read_points,
    write_points,
)
from tests.conftest import ROOT, smoke, write_corpus
from tests.report.conftest import finish

MakePoint = Callable[..., Point]


def fail() -> list[Point]:
    raise UserError("the text is not here")


def sweep_of(runs: Path, text: Path, *overrides: str) -> Sweep:
    """A sweep of one point, whose run folders are finished with made-up numbers and whose points are written."""
    sweep = compose_sweep(["+experiment=copy_curriculum", "arm=no_memory", *smoke(text, runs), *overrides])
    points = [plan(config).point() for config in sweep.configs]
    for point in points:
        finish(point)
    write_points(sweep.report_folder, sweep.given, points)
    return sweep


def command(sweep: Sweep, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "memlab.report", *sweep.given]
    return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_points_are_read_as_they_were_written(make_point: MakePoint, tmp_path: Path) -> None:
    points = [make_point("curriculum", 0.9), make_point("no_memory", 0.3)]
    write_points(tmp_path / "report", ["+experiment=x"], points)
    assert read_points(tmp_path / "report", tmp_path) == points
    assert json.loads((tmp_path / "report" / COMMAND_FILE).read_text()) == ["+experiment=x"]
    assert str(tmp_path) not in (tmp_path / "report" / POINTS_FILE).read_text(), "the runs folder may move"
    moved = read_points(tmp_path / "report", Path("/elsewhere"))
    assert moved is not None and moved[0]["folder"] == Path("/elsewhere/stages") / points[0]["folder"].name


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "[{}]", '{"a": 1}', "\udcff"])
def test_points_that_cannot_be_read_are_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / POINTS_FILE).write_bytes(content.encode(errors="surrogateescape"))
    assert read_points(tmp_path, tmp_path) is None
    with pytest.raises(UserError, match="the text is not here"):
        find_points(fail, tmp_path, tmp_path)


def test_planned_points_come_first_unless_none_is_finished(make_point: MakePoint, tmp_path: Path) -> None:
    planned, written = make_point("curriculum", 0.9), make_point("no_memory", 0.3)
    write_points(tmp_path / "report", [], [written])
    assert find_points(lambda: [planned], tmp_path / "report", tmp_path) == [planned]
    shutil.rmtree(planned["folder"])
    assert find_points(lambda: [planned], tmp_path / "report", tmp_path) == [written]
    assert find_points(lambda: [planned], tmp_path / "none", tmp_path) == [planned]
    assert find_points(fail, tmp_path / "report", tmp_path) == [written]


def test_a_report_is_made_again_without_the_text(tmp_path: Path, environment: dict[str, str]) -> None:
    """The command cannot plan the sweep then, and reads what the sweep wrote down."""
    write_corpus(tmp_path / "text")
    sweep = sweep_of(tmp_path / "runs", tmp_path / "text")
    shutil.rmtree(tmp_path / "text")
    result = command(sweep, environment)
    assert result.returncode == 3 and "Traceback" not in result.stderr, result.stdout + result.stderr
    [row] = json.loads((sweep.report_folder / "report.json").read_text())["rows"]
    assert row["arm"] == "no_memory" and row["token_accuracy"] == pytest.approx(0.4)

    (sweep.report_folder / POINTS_FILE).unlink()
    result = command(sweep, environment)
    assert result.returncode == 2 and "Traceback" not in result.stderr and str(tmp_path / "text") in result.stderr


def test_a_damaged_provenance_is_one_line(tmp_path: Path, environment: dict[str, str]) -> None:
    write_corpus(tmp_path / "text")
    sweep = sweep_of(tmp_path / "runs", tmp_path / "text")
    [provenance] = (tmp_path / "runs" / "stages").glob("*/provenance.json")
    provenance.write_text("{")
    result = command(sweep, environment)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(f"error: {provenance} cannot be read")
    assert "Traceback" not in result.stderr


def test_sweeps_that_differ_late_in_long_overrides_have_reports_of_their_own(tmp_path: Path) -> None:
    """Wherever a name is cut, and in whatever letters the overrides are."""
    write_corpus(tmp_path / "text")
    long = ["optimizer.weight_decay=0.01", "schedule.warmup=2", "trainer.clip=0.5"]
    long += [f"trainer.{name}_every=7" for name in ("log", "validate", "checkpoint")]
    long += ["trainer.accumulate=2", "trainer.batch_size=4", "trainer.max_loss=500", "trainer.restarts=1"]
    assert len("_".join(long)) > 200
    sweeps = [sweep_of(tmp_path / "runs", tmp_path / "text", *long, f"optimizer.lr={lr}") for lr in ("1e-3", "9e-3")]
    assert len({sweep.report_folder for sweep in sweeps}) == 2
    for sweep in sweeps:
        written = read_points(sweep.report_folder, sweep.runs_dir)
        assert written is not None and all(map(is_finished, written))
        assert [point["folder"].name for point in written] == [plan(sweep.configs[0]).point()["folder"].name]


def test_a_sweep_needs_an_experiment_and_a_finished_point(make_point: MakePoint, tmp_path: Path) -> None:
    about: dict[str, Any] = {"scale": "smoke", "runs_dir": tmp_path, "folder": tmp_path, "command": "the command"}
    with pytest.raises(UserError, match=r"add \+experiment=NAME"):
        make_sweep_report(experiment=None, points=[make_point("no_memory", 0.3)], **about)
    with pytest.raises(UserError, match=r"add \+experiment=NAME"):
        make_committed_report(experiment=None, name="laptop", folder=tmp_path)
    with pytest.raises(NothingFinishedError, match="run it first, the command;"):
        make_sweep_report(experiment="copy_curriculum", points=[], **about)


def test_the_next_commands_can_be_pasted(
    make_point: MakePoint, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a shell, with spaces, quotes and parentheses in the paths, and `memlab.run` in one of them."""
    monkeypatch.setattr(progress.console, "width", 40)
    report = make_sweep_report(
        experiment="copy_curriculum",
        scale="smoke",
        runs_dir=tmp_path,
        folder=tmp_path / "report",
        command="",
        points=[make_point("no_memory", 0.3)],
    )
    capsys.readouterr()
    given = ["+experiment=copy_curriculum", "seed=0", "runs_dir=/a b/memlab.run (1)'s/$HOME"]
    print_next(report, given)
    written = capsys.readouterr().out
    commands = [shlex.split(line) for line in written.splitlines() if line.startswith("  python")]
    wider = [given[0], given[2], "architecture=mixer,transformer", "seed=0,1,2,3,4"]
    assert commands == [["python", "-m", "memlab.run", *wider], ["python", "-m", "memlab.report", *given]]
    assert "report/figure.png" in written and "next:" in written


def test_the_report_room_knows_no_config() -> None:
    """All of it but the command, which composes."""
    for path in (ROOT / "memlab" / "report").glob("*.py"):
        imports = [line for line in path.read_text().splitlines() if line.startswith(("import ", "from "))]
        rooms = {word.split(".")[1] for line in imports for word in line.split()[1:2] if word.startswith("memlab.")}
        assert rooms <= {"report", "storage", "errors", "progress", "config"}, path
        assert not any("memlab.config" in line and "paths" not in line for line in imports), path

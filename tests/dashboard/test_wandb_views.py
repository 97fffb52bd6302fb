"""Saved views and reports of Weights & Biases: their definitions, and what a server that plays its API is sent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memlab.config import paths
from memlab.dashboard.wandb_views import (
    BY_PLACE,
    SECTIONS,
    committed_texts,
    definitions,
    experiments,
    newest_reports,
    texts_of,
)
from memlab.dashboard.workspace import WorkspaceReader, outline
from memlab.storage.wandb_folder import AXES
from memlab.training.wandb_names import shown_name
from tests.wandb_server import KEY, Wandb, serving

REPORT = "# copy, scale laptop\n\n![copy](figure.png)\n\n| arm | accuracy |\n|---|---|\n| direct | 45 |\n"


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    for number, name in enumerate(("older", "newest")):
        report = tmp_path / "reports" / "copy" / name / "report.md"
        report.parent.mkdir(parents=True)
        report.write_text(f"{name}\n{REPORT}")
        os.utime(report, (number, number))
    return tmp_path


def test_there_is_a_view_for_everything_and_a_report_for_what_has_one(runs_dir: Path) -> None:
    made = definitions("mine", texts_of(newest_reports(runs_dir)))
    assert {*experiments()} == {path.parent.name for path in paths.experiments().glob("*/expected.yaml")}
    names = {"overview", "the curriculum's stages", "speed", *experiments()}
    assert {*made["views"]} == {f"memlab: {name}" for name in names}
    assert {*made["reports"]} == {"memlab: copy"}
    text = json.dumps(made["reports"])
    assert "newest" in text and "older" not in text and "figure.png" not in text
    (runs,) = made["views"]["memlab: copy"]["section"]["runSets"]
    found = {(part["key"]["name"], part["op"], part["value"]) for part in runs["filters"]["filters"]}
    assert found == {("group", "=", "copy"), ("jobType", "!=", "report")}


def test_charts_are_of_metrics_that_runs_have_against_their_axes(runs_dir: Path) -> None:
    """As tests/test_wandb.py reads them back from a run."""
    rows = ("step", "val/token_accuracy", "train/gradient_norm", "train/cross_entropy", "lr", "tokens_per_second")
    logged = {shown_name(name) for name in rows}
    assert {"train/learning_rate", "speed/tokens_per_second"} <= logged
    charted = {metric for metrics in SECTIONS.values() for metric in metrics}
    assert {name for name in logged if not name.startswith("x/")} <= charted
    sections = definitions("mine", texts_of(newest_reports(runs_dir)))["views"]["memlab: speed"]["section"][
        "panelBankConfig"
    ]["sections"]
    assert sections[0]["name"] == "Speed" and sections[0]["isOpen"]
    assert {panel["config"]["xAxis"] for panel in sections[0]["panels"]} == {AXES["seconds"]}


def test_the_page_says_what_views_and_reports_contain(runs_dir: Path) -> None:
    made = outline(definitions("mine", texts_of(newest_reports(runs_dir))))
    views = {view["name"]: view for view in made["views"]}
    stages = views["memlab: the curriculum's stages"]
    assert stages["runs"] == "group is copy_curriculum and job type is one of autoencoder, blank_copy, copy"
    assert stages["groups"] == ["job type"] and views["memlab: overview"]["groups"] == ["group", "job type"]
    for name, axis in (("the curriculum's stages", "tokens"), ("overview", "step"), ("speed", "seconds")):
        panels = [panel for section in views[f"memlab: {name}"]["sections"] for panel in section["panels"]]
        assert {panel["axis"] for panel in panels} == {axis, ""}
        charted = [panel["what"] for panel in panels if panel["axis"]]
        assert {*charted} == {BY_PLACE, *(metric for metrics in SECTIONS.values() for metric in metrics)}
        assert [panel["what"] for panel in panels if not panel["axis"]] == ["table val/reconstructions"]
    speed = views["memlab: speed"]["sections"][0]
    assert (speed["name"], speed["open"], speed["panels"][0]["title"]) == ("Speed", True, "tokens per second")
    (report,) = made["reports"]
    assert report["sections"] == ["copy, scale laptop", "Training"] and report["runs"] == "group is copy"
    assert [panel["what"] for panel in report["panels"]] == [*SECTIONS["Held-out text"]]


def test_a_report_that_has_changed_is_read_again(runs_dir: Path) -> None:
    reader = WorkspaceReader(runs_dir)
    assert reader.read() is reader.read()
    report = runs_dir / "reports" / "copy" / "newest" / "report.md"
    report.write_text("# another title")
    assert reader.read()["reports"][0]["sections"] == ["another title", "Training"]


def test_committed_results_have_reports_too() -> None:
    texts = committed_texts()
    results = [*paths.experiments().glob("*/results/*.md")]
    assert {path.parent.parent.name for path in results} == {*texts} != set()
    assert all(f"# results/{path.name}\n\n# " in texts[path.parent.parent.name] for path in results)
    assert not any("](figure" in text for text in texts.values()), "pictures lie beside the text"


def command(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memlab.dashboard", "wandb", *arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def asked(server: Wandb, environment: dict[str, str], home: Path) -> dict[str, str]:
    return {**environment, "WANDB_BASE_URL": server.address, "WANDB_API_KEY": KEY, "HOME": str(home)}


def test_the_same_command_again_replaces_what_was_sent(runs_dir: Path, environment: dict[str, str]) -> None:
    with serving() as server:
        own = asked(server, environment, runs_dir)
        first = command("--project", "mine", "--runs-dir", str(runs_dir), environment=own)
        assert first.returncode == 0, first.stderr
        sent = {(view["type"], view["displayName"]): view for view in server.views.values()}
        assert len(sent) == len(server.views) == len(experiments()) + 4
        assert {view["entityName"] for view in sent.values()} == {"me"}
        assert first.stdout.count("view: ") == len(experiments()) + 3 and first.stdout.count("report: ") == 1
        shown = command("--show", str(runs_dir / "v.json"), "--runs-dir", str(runs_dir), environment=own)
        assert shown.returncode == 0
        written = json.loads((runs_dir / "v.json").read_text())
        assert {("project-view", name) for name in written["views"]} | {("runs", "memlab: copy")} == {*sent}
        again = command("--project", "mine", "--runs-dir", str(runs_dir), environment=own)
        assert again.returncode == 0, again.stderr
        assert len(server.views) == len(sent)
        other = command("--project", "other", "--runs-dir", str(runs_dir), environment=own)
        assert other.returncode == 2 and "there is no project me/other: send runs first" in other.stderr


def test_without_a_login_the_command_says_what_to_do(tmp_path: Path, environment: dict[str, str]) -> None:
    nobody = {**environment, "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    nobody.pop("WANDB_API_KEY", None)
    result = command("--runs-dir", str(tmp_path), environment=nobody)
    assert result.returncode == 2 and "`wandb login` first" in result.stderr and "Traceback" not in result.stderr

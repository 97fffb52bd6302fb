"""Every experiment as a user runs it, at smoke scale: each figure of the paper is one command away."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from matplotlib.figure import Figure

from memlab.config import paths
from memlab.report.expected import load_expected
from memlab.report.report import as_dict
from memlab.report.write import redraw
from memlab.reproduce import EXPERIMENTS
from tests.conftest import Command, smoke, wait_for
from tests.pages import images

SEARCH = "laptop_search"  # no figure of the paper, so `make reproduce` leaves it out
PRETRAINED = ("llm_information", "pretrained_decoder")  # run on tiny random models here
QUICK = ("copy_curriculum", "information_retention")  # the others are in `make test-all`

# `make reproduce` with three experiments, two of which share stages: all are composed before the first is run.
FEW = ("copy", "blank_copy", "throughput")
REPRODUCE = (sys.executable, "-c", f"import memlab.reproduce as m; m.EXPERIMENTS = {FEW}; m.main()")


@pytest.mark.parametrize(
    ("experiment", "architecture"),
    [(name, "mixer") for name in QUICK]
    + [pytest.param(name, "mixer,transformer", marks=pytest.mark.slow) for name in EXPERIMENTS],
)
def test_an_experiment_runs_and_answers_its_claims(
    experiment: str, architecture: str, memlab: Command, runs: Path, tiny_models: list[str]
) -> None:
    more = tiny_models if experiment in PRETRAINED else []
    result = memlab(f"+experiment={experiment}", f"architecture={architecture}", *more, runs=runs)
    assert result.returncode == 0, result.stdout + result.stderr
    reports = runs.glob(f"reports/{experiment}/*/report.json")
    (report,) = (path for path in reports if ("transformer" in path.parent.name) == ("," in architecture))
    content = json.loads(report.read_text())
    assert content["unfinished"] == []
    # Some quantities, such as costs, cannot be drawn anew from the windows of one seed; some claims compare both.
    mixed = ("mixer_transformer", "transformer_mixer")  # of some claims; they do not run here
    excuses = ("needs 3 seeds", *(mixed if "," in architecture else ("no finished run of",)))
    for claim in content["claims"]:
        assert claim["holds"] is not None or any(e in claim["measured"]["reason"] for e in excuses), claim
    assert (report.parent / "figure.png").stat().st_size > 10_000
    assert "next:" in result.stdout


@pytest.mark.slow
def test_the_search_compares_settings(memlab: Command, runs: Path) -> None:
    models = ("autoencoder", "trainable", "blank_copy", "direct_copy")
    arms = ",".join(f"{model}__{setting}" for setting in ("start", "width_96") for model in models)
    result = memlab(f"+experiment={SEARCH}", f"arm={arms}", "architecture=mixer,transformer", runs=runs)
    assert result.returncode == 0, result.stdout + result.stderr
    [report] = (json.loads(path.read_text()) for path in runs.glob(f"reports/{SEARCH}/*/report.json"))
    assert len(report["rows"]) == 16 and {row["seed"] for row in report["rows"]} == {100}
    answered = [claim["id"] for claim in report["claims"] if claim["holds"] is not None]
    assert len(answered) == 8, "all but free-running accuracy, which needs three seeds"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_figures_title_is_a_message_with_numbers(name: str) -> None:
    text = load_expected(paths.experiments() / name / "expected.yaml").get("message", "")
    named = [arm for _, arm, *_ in Formatter().parse(text) if arm is not None]
    arms = load_expected(paths.experiments() / name / "expected.yaml")["arms"]
    assert named and {*named} <= {*arms}


def test_every_experiment_has_its_files() -> None:
    for folder in (paths.conf() / "experiment", paths.experiments()):
        names = {path.stem for path in folder.iterdir() if not path.name.startswith("_")}
        assert names == {*EXPERIMENTS, SEARCH}, folder
    for name in (*EXPERIMENTS, SEARCH):
        for file in ("README.md", "expected.yaml", "figure.py"):
            assert (paths.experiments() / name / file).is_file(), f"{name}/{file}"


@pytest.mark.parametrize("path", sorted(paths.experiments().glob("*/results/*.json")), ids=str)
def test_committed_results_can_be_drawn(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the experiment's README shows the figure, its text for screen readers has the numbers of the title."""
    drawn, named, titles = Figure.savefig, Figure.suptitle, []

    def save(figure: Figure, *args: Any, **options: Any) -> None:
        drawn(figure, *args, **options)
        assert all(axis.has_data() for axis in figure.axes if axis.get_visible() and axis.axison), "an empty panel"

    def suptitle(figure: Figure, title: str, **options: Any) -> Any:
        titles.append(" ".join(title.split()))
        return named(figure, title, **options)

    monkeypatch.setattr(Figure, "savefig", save)
    monkeypatch.setattr(Figure, "suptitle", suptitle)
    report = redraw(path.parent.parent.name, path.stem, tmp_path)
    for picture, alt in images(path.parent.parent / "README.md"):
        if picture in (f"results/figure_{path.stem}.png", *(["results/figure.png"] * (path.stem == "laptop"))):
            missing = numbers(titles[0]) - numbers(alt)
            assert not missing, f"{sorted(missing)} not in the alt text of {picture}; the figure says: {titles[0]}"
    assert (tmp_path / "figure.png").is_file()
    # On the H100, packages lay beside the code; `dirty` counted such files until the commit after.
    packages_beside = path.parts[-3:] == ("copy_curriculum", "results", "gpu.json")
    assert as_dict(report)["provenance"]["dirty"] == packages_beside, "made by the committed code"
    assert path.with_suffix(".csv").is_file()


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", text))


@pytest.mark.slow
def test_reproduce_runs_all_and_then_nothing(corpus: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Each experiment by itself is run by the test above."""

    def reproduce() -> subprocess.CompletedProcess[str]:
        command = [*REPRODUCE, *smoke(corpus, tmp_path)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    first = reproduce()
    assert first.returncode == 0, first.stdout + first.stderr
    assert "3 of 3: throughput" in first.stdout
    assert len(list(tmp_path.glob("reports/*/smoke*/figure.png"))) == len(FEW)
    stages = {path: path.stat().st_mtime_ns for path in tmp_path.glob("stages/*/finished.json")}
    again = reproduce()
    assert again.returncode == 0 and "about 0:00 left" in again.stdout
    assert stages and {path: path.stat().st_mtime_ns for path in tmp_path.glob("stages/*/finished.json")} == stages


@pytest.mark.slow
def test_reproduce_saves_and_stops_at_a_signal(corpus: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    slowly = ("scale.stages.autoencoder.steps=20000", "trainer.checkpoint_every=10000")
    command = [*REPRODUCE, *smoke(corpus, tmp_path), *slowly]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(tmp_path.glob("stages/*/metrics.jsonl")))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, output + errors
    assert "run the same command again" in errors and "Traceback" not in errors
    assert output.count(f"of {len(FEW)}: ") == 1, "no further experiment"
    assert list(tmp_path.glob("stages/*/checkpoints/step-*"))


@pytest.mark.slow
def test_reproduce_finds_mistakes_before_it_runs(corpus: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    command = [*REPRODUCE, *smoke(corpus, tmp_path), "scale.chunks=3"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 2
    assert "even number" in result.stderr and "Traceback" not in result.stderr
    assert not list(tmp_path.glob("stages/*"))

"""A finished experiment in wandb's terminal dashboard."""

import json
from pathlib import Path

import pytest

from memlab.storage.wandb_folder import id_of
from tests.conftest import Command
from tests.wandb_records import offline_runs, records, screen

ARMS = "arm=blank_copy,curriculum"


@pytest.fixture(scope="module")
def runs(memlab: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of a finished experiment at smoke scale, whose report was made twice."""
    folder = tmp_path_factory.mktemp("finished")
    for _ in range(2):
        result = memlab("+experiment=copy_curriculum", ARMS, "logger=wandb", runs=folder)
        assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_one_folder_has_a_run_per_stage_and_one_of_the_experiment(runs: Path) -> None:
    about = [record for run in offline_runs(runs) for record in records(run, "run")[:1]]
    assert {record["display_name"]: record["job_type"] for record in about} == {
        "copy_curriculum / blank_copy +1 / autoencoder, mixer, seed 0": "autoencoder",
        "copy_curriculum / blank_copy +1 / blank_copy, mixer, seed 0": "blank_copy",
        "copy_curriculum / curriculum / copy, mixer, seed 0": "copy",
        f"copy_curriculum / report, {_report(runs).name}": "report",
    }
    assert len(about) == 4 and {record["run_group"] for record in about} == {"copy_curriculum"}
    assert not list(runs.glob("stages/*/wandb"))


def test_the_experiments_run_has_its_tables_pictures_and_verdicts(runs: Path) -> None:
    report = _report(runs)
    (run,) = [path for path in offline_runs(runs) if path.name.endswith(str(id_of(report)))]
    (history,) = [record["item"] for record in records(run, "history")]
    pictures = {f"figures/{path.stem}" for path in report.glob("figure*.png")}
    assert pictures and {key.partition("._type")[0] for key in history if key.endswith("._type")} == {
        *pictures, "arms", "claims", "results",
    }  # fmt: skip
    claims = json.loads((report / "report.json").read_text())["claims"]
    counts = {key: value for record in records(run, "summary") for key, value in record["update"].items()}
    assert sum(value for key, value in counts.items() if key.startswith("claims/")) == len(claims)
    (table,) = run.glob("files/media/table/claims_*.json")
    content = json.loads(table.read_text())
    assert [line[:2] for line in content["data"]] == [[claim["id"], claim["verdict"]] for claim in claims]


def test_the_terminal_dashboard_lists_runs_by_names_that_a_person_can_read(runs: Path, tmp_path: Path) -> None:
    named = "Name: copy_curriculum / report,"  # of the newest run, which is selected
    shown = screen(runs, named, tmp_path)
    for beginning in ("blank_copy-autoencoder", "blank_copy-blank_copy", "curriculum-copy", "report-copy_curriculum"):
        assert beginning in shown, shown
    assert "Runs [4 items]" in shown


def _report(runs: Path) -> Path:
    (folder,) = runs.glob("reports/copy_curriculum/*")
    return folder

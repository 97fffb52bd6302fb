"""Libraries write into the runs folder and the system's temporary folder, and nowhere else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memlab.storage.caches import keep_caches_in
from tests.conftest import ROOT, smoke

SCRIPT = """
import sys
from pathlib import Path
from memlab.storage.caches import keep_caches_in
runs = Path(sys.argv[1])
keep_caches_in(runs)
import datasets, matplotlib, wandb
(runs / "stage").mkdir(parents=True)
run = wandb.init(project="p", mode="offline", dir=runs / "stage", settings=wandb.Settings(silent=True))
run.log({"loss": 1.0, "samples": wandb.Table(columns=["text"], data=[["a"]])})
run.finish()
from matplotlib.figure import Figure
figure = Figure()
figure.subplots().plot([1, 2])
figure.savefig(runs / "figure.png")
datasets.Dataset.from_dict({"text": ["a"]}).map(lambda row: row)
rows = datasets.Dataset.from_generator(lambda: iter([{"text": "a"}]))
assert rows["text"][0] == "a"
"""


def run_with_home(home: Path, folder: Path) -> list[Path]:
    """Run wandb, matplotlib and datasets with a home folder; return the files in the runs folder."""
    for name in ("tmp", "elsewhere"):
        (folder / name).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder / "runs")],
        # Not one variable that tells a library where to write.
        env={"HOME": str(home), "TMPDIR": str(folder / "tmp"), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        cwd=folder / "elsewhere",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not writable" not in done.stderr
    assert not list((folder / "elsewhere").iterdir()), "nothing in the current folder"
    return list((folder / "runs").rglob("*"))


def test_a_home_folder_that_does_not_exist(tmp_path: Path) -> None:
    names = {path.name for path in run_with_home(Path("/dev/null"), tmp_path)}
    assert {"figure.png", "matplotlib", "huggingface", "staging"} <= names
    assert any(name.startswith("offline-run-") for name in names)


def test_a_home_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Root may write into any folder, so the test also asks that nothing was written."""
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    assert "figure.png" in {path.name for path in run_with_home(home, tmp_path)}
    assert not list(home.rglob("*"))


def test_memlab_without_a_home_folder(corpus: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """logger=wandb trains, logs its table of samples, and ends well."""
    clean = {name: value for name, value in environment.items() if not name.startswith(("HF_HOME", "MPLCONFIGDIR"))}
    done = subprocess.run(
        [sys.executable, "-m", "memlab.run", *smoke(corpus, tmp_path / "runs"), "logger=wandb"],
        env={**clean, "HOME": "/dev/null"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert (tmp_path / "runs/cache/wandb").is_dir()


def test_what_the_user_has_set_and_stored_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HF_HOME", "HF_TOKEN_PATH", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MPLCONFIGDIR", "/mine")
    (tmp_path / "home/.config/wandb").mkdir(parents=True)
    keep_caches_in(tmp_path / "runs")
    assert os.environ["MPLCONFIGDIR"] == "/mine"
    assert "WANDB_CONFIG_DIR" not in os.environ, "wandb reads the user's settings there"
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "runs/cache/wandb/data")
    assert os.environ["HF_HOME"] == str(tmp_path / "runs/cache/huggingface")
    assert os.environ["HF_TOKEN_PATH"] == str(tmp_path / "home/.cache/huggingface/token")
    assert not (tmp_path / "runs").exists(), "no folder is made before something is written"


def test_a_folder_of_hugging_face_s_that_the_user_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HF_HOME", "/mine")
    keep_caches_in(tmp_path)
    assert os.environ["HF_HOME"] == "/mine" and "HF_TOKEN_PATH" not in os.environ


def test_a_relative_runs_folder_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.chdir(tmp_path)
    keep_caches_in(Path("runs"))
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / "runs/cache/matplotlib")

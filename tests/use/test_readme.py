"""The lines of Python in the README: they run, on exported models and with the installed wheel behind a command."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Command
from tests.use.conftest import Make

(LINES,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
PRINTED = re.compile(
    r"\d+ chunks of \d+ floats, \d+ bits each\n.*\n\d+\.\d% of the tokens came back\n.*\n\d+\.\d\d bits per byte\n",
    flags=re.DOTALL,
)


def test_there_are_about_twenty_lines() -> None:
    assert len(LINES.splitlines()) <= 20


def test_the_lines_run(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On models of the same kinds that were not trained."""
    make("encoder=frozen_autoencoder", "objective=copy", stage=0).save_pretrained(
        tmp_path / "runs/stages/autoencoder-0"
    )
    make("encoder=trainable", "objective=clm").save_pretrained(tmp_path / "runs/stages/clm-0")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(LINES, {})
    assert PRINTED.fullmatch(capsys.readouterr().out)
    assert (tmp_path / "paragraph.safetensors").is_file()


@pytest.mark.slow
def test_the_lines_run_with_the_installed_wheel(memlab: Command, tmp_path: Path, environment: dict[str, str]) -> None:
    """Behind `make run` at smoke scale, outside the checkout, with the wheel that pip has installed."""
    arms = "arm=curriculum,memory_direct_copy"  # those whose stages the lines read
    trained = memlab("+experiment=copy_curriculum", arms, runs=tmp_path / "runs")
    assert trained.returncode == 0, trained.stderr
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], cwd=ROOT, check=True)
    (wheel,) = wheels.glob("*.whl")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    where = "import memlab, sys; assert memlab.__file__.startswith(sys.argv[1]), memlab.__file__\n"
    result = subprocess.run(
        [sys.executable, "-c", where + LINES, str(site)],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert PRINTED.fullmatch(result.stdout), result.stdout
    assert (tmp_path / "paragraph.safetensors").is_file()

"""What wandb has recorded of offline runs, read back by wandb itself."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WANDB = shutil.which("wandb", path=str(Path(sys.executable).parent)) or shutil.which("wandb") or "wandb"
TMUX = shutil.which("tmux")


def offline_runs(runs: Path) -> list[Path]:
    """Return the folders of a runs folder's offline runs, by time."""
    return sorted((runs / "wandb").glob("offline-run-*"))


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    """Return the records of one kind in an offline run: history, metric, run, artifact, summary."""
    command = [WANDB, "leet", "inspect", "--json", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [line[kind] for line in lines if line["type"] == kind]


def history(run: Path) -> list[dict[str, Any]]:
    """Return the rows of an offline run by its own names; those that have a row of metrics.jsonl behind them."""
    rows = [record["item"] for record in records(run, "history")]
    return [row for row in rows if "x/tokens" in row]


def screen(runs: Path, wanted: str, home: Path, size: tuple[int, int] = (300, 50)) -> str:
    """Return what `wandb leet` shows of a runs folder, once `wanted` is on the screen."""
    from tests.conftest import wait_for

    if TMUX is None:
        pytest.skip("needs tmux")
    if subprocess.run([WANDB, "leet", "--help"], capture_output=True, check=False).returncode:
        pytest.skip("needs a wandb that has leet")
    tmux = [TMUX, "-S", str(home / "tmux"), "-f", "/dev/null"]
    width, height = map(str, size)
    environment = {"HOME": str(home), "WANDB_CONFIG_DIR": str(home / "config"), "TERM": "xterm-256color"}
    settings = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
    shown = [""]

    def look() -> bool:
        done = subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True)
        shown[0] = done.stdout
        return wanted in " ".join(shown[0].split())

    session = ["new-session", "-d", "-x", width, "-y", height, *settings, WANDB, "leet", str(runs / "wandb")]
    subprocess.run([*tmux, *session], check=True)
    try:
        wait_for(look, seconds=60)
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
    return shown[0]

"""Runs folders with made-up numbers, and a browser."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memlab.dashboard.contents import RunsReader
from memlab.dashboard.page import render
from memlab.dashboard.serve import Server
from memlab.report.collect import Point
from memlab.report.of_sweep import write_points
from memlab.storage.run_folder import RunFolder
from tests.report.conftest import CAPACITY, GREEDY, SCORE, settings, write_stage
from tests.servers import running

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
STEPS = 300
SAMPLE = {
    "text": "def f(x):",
    "regenerated": "def g(x):",
    "parts": [
        {"right": True, "tokens": 2, "text": "def ", "regenerated": "def "},
        {"right": False, "tokens": 1, "text": "f", "regenerated": "g"},
        {"right": True, "tokens": 3, "text": "(x):", "regenerated": "(x):"},
    ],
}
MakeRuns = Callable[..., Path]


@pytest.fixture
def make_runs(tmp_path: Path) -> MakeRuns:
    """make_runs(arms, seeds=1): a runs folder with a finished sweep of copy_curriculum. See `write_runs`."""
    return lambda arms, seeds=1, **more: write_runs(tmp_path / "runs", arms, seeds, **more)


def write_runs(
    root: Path,
    arms: Sequence[str],
    seeds: int = 1,
    *,
    architecture: str = "mixer",
    samples: Sequence[dict[str, Any]] = (SAMPLE,),
    waiting: Sequence[str] = (),
) -> Path:
    """Write a sweep's run folders and points: per seed one autoencoder, and a stage for each arm that starts from it.

    waiting: arms of the sweep whose stages nothing has begun. The accuracies of arms are 0.3, 0.4, ... in turn.
    """
    points: list[Point] = []
    for seed in range(seeds):
        encoder = RunFolder(root, "autoencoder", f"{architecture}{seed}")
        write_run(encoder, 0.9, seed, architecture, arms, samples)
        for place, arm in enumerate([*arms, *waiting]):
            run = RunFolder(root, "copy", f"{architecture}{place:03}{seed}")
            if arm in arms:
                write_run(run, 0.3 + 0.1 * (place % 6), seed, architecture, [arm], samples, encoder.fingerprint)
            asked = [
                {"file": file, "prefix": "", "nested": False, "settings": settings(name)}
                for file, name in ((SCORE, "Score"), (GREEDY, "Greedy"), (CAPACITY, "Capacity"))
            ]
            choices = {"architecture": architecture, "arm": arm, "encoder": "any", "curriculum": "any", "seed": seed}
            points.append(
                {
                    "choices": choices,
                    "folder": run.path,
                    "stages": [encoder.path, run.path],
                    "encoder_stages": 1,
                    "evaluations": asked,
                }
            )
    write_points(root / "reports" / "copy_curriculum" / "laptop", ["+experiment=copy_curriculum"], points)
    return root


def write_run(
    run: RunFolder,
    accuracy: float,
    seed: int,
    architecture: str,
    arms: Sequence[str],
    samples: Sequence[dict[str, Any]],
    start: str | None = None,
) -> None:
    """Write a finished stage with places, reconstructions and a logged training."""
    write_config(run, seed, architecture, arms, start)
    write_stage(run, accuracy, seed)
    content = run.read_evaluation(SCORE)
    places = {"correct": [0, 60 * accuracy, 50 * accuracy], "count": [0, 64, 64], "loss": [0.0, 80.0, 90.0]}
    run.write_evaluation(SCORE, content["settings"], {**content, "places": {"copy": places}})
    for step in range(10, STEPS + 1, 10):
        log(run, step, accuracy)
    run.write_samples(samples)


def write_config(run: RunFolder, seed: int, architecture: str, arms: Sequence[str], start: str | None = None) -> None:
    stage = {"name": run.path.name, "training": {"steps": STEPS}, "start": start and {"fingerprint": start}}
    run.write_config(stage, {"architecture": {"name": architecture}, "seed": seed}, arms)


def log(run: RunFolder, step: int, accuracy: float = 0.5) -> None:
    metrics = {"train/cross_entropy": 6.0 - accuracy * step / 50, "train/token_accuracy": accuracy * step / STEPS}
    run.append_metrics({"step": step, "tokens": 10 * step, "seconds": step / 10, **metrics})


@contextmanager
def serving(runs_dir: Path) -> Iterator[Server]:
    """A server of a runs folder on a free port of the loopback interface."""
    with Server(RunsReader(runs_dir).read, "127.0.0.1", 0) as server, running(server):
        yield server


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[Any], str]:
    def write(contents: Any) -> str:
        path = tmp_path / "page.html"
        path.write_text(render(contents))
        return path.as_uri()

    return write


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, for `make test-page` alone: its tests share their processes with no others."""
    if "PAGE_TESTS" not in os.environ:
        pytest.skip("`make test-page` runs the tests in a browser, and installs the browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to run as root, as tests in a container do.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()

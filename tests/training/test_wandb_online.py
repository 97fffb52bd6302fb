"""Stages as online runs of wandb, against a local server that plays its API; what a server cannot do to a training."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memlab.config.stage import Job
from memlab.processes.signals import Stopped
from memlab.storage.wandb_folder import id_of
from memlab.training import wandb_runs
from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
from memlab.training.wandb_names import shown_name
from memlab.training.wandb_runs import WandbRuns
from tests.conftest import smoke
from tests.training.chains import CURRICULUM, before_batch
from tests.training.test_wandb import OFTEN, assert_every_row_once
from tests.wandb_records import WANDB, history, offline_runs, records
from tests.wandb_server import KEY, WELL, Sent, Wandb, serving

ONLINE = ("logger=wandb_online", *OFTEN[1:])
SAID = "Runs go on offline"


@pytest.fixture
def server() -> Iterator[Wandb]:
    with serving() as found:
        yield found


def variables(address: str, home: Path) -> dict[str, str]:
    """The environment of somebody who is logged in there."""
    folders = {f"WANDB_{kind}_DIR": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    return {"WANDB_BASE_URL": address, "WANDB_API_KEY": KEY, "NETRC": str(home / "netrc"), **folders}


@pytest.fixture
def log_in(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """log_in(address): wandb in this process asks that server from now on."""
    import wandb

    monkeypatch.setattr(WandbRuns, "_server_failed", False)
    wandb.teardown()  # it reads the environment once

    def call(address: str) -> None:
        for name, value in variables(address, tmp_path_factory.mktemp("home")).items():
            monkeypatch.setenv(name, value)

    yield call
    wandb.teardown()


def run_of(server: Wandb, job: Job) -> Sent:
    return server.runs[str(id_of(job.folder.path))]


def assert_server_has_every_row_once(server: Wandb, job: Job) -> None:
    run, rows = run_of(server, job), job.folder.read_metrics()
    found = [row for row in run.history if "x/tokens" in row]
    assert len(found) == len(rows) > 8
    for number, (ours, row) in enumerate(zip(found, rows, strict=True)):
        assert ours["_step"] == number
        assert {shown_name(key): ours[shown_name(key)] for key in row} == pytest.approx(
            {shown_name(key): value for key, value in row.items()}, abs=1e-12
        )


def test_the_server_has_what_offline_records_have(
    chain: Any, server: Wandb, log_in: Callable[..., None], tmp_path: Path
) -> None:
    log_in(server.address)
    kinds = {"online": ONLINE, "offline": OFTEN}
    online, offline = (chain(*kind, *CURRICULUM[:2], runs=tmp_path / name) for name, kind in kinds.items())
    run_chain(online, Workload())
    run_chain(offline, Workload())
    assert len(server.runs) == len(online) == 3 and not offline_runs(tmp_path / "online")
    kept = {path.name.split("-", 3)[-1]: path for path in offline_runs(tmp_path / "offline")}
    for job, other in zip(online, offline, strict=True):
        sent, record = run_of(server, job), kept[str(id_of(other.folder.path))]
        (about, *_) = records(record, "run")
        names = {"displayName": "display_name", "groupName": "run_group", "jobType": "job_type", "tags": "tags"}
        assert {ours: sent.about[ours] for ours in names} == {ours: about[theirs] for ours, theirs in names.items()}
        assert sent.config["choices"]["value"] == about["config"]["update"]["choices"]
        metrics = [one for one in records(record, "metric") if "glob_name" in one]
        assert sent.metrics == {one["glob_name"]: one["step_metric"] for one in metrics} != {}
        assert_server_has_every_row_once(server, job)
        own = [row for row in sent.history if "x/tokens" in row]
        clock = {"_wandb", "_timestamp", "_runtime"}
        for ours, theirs in zip(own, history(record), strict=True):
            assert {*ours} - clock == {key.partition("._type")[0].partition(".")[0] for key in theirs} - clock
        assert sent.summary["evaluation/token_accuracy"] == pytest.approx(
            {key: value for one in records(record, "summary") for key, value in one["update"].items()}[
                "evaluation/token_accuracy"
            ],
            abs=1e-12,
        )
        assert sent.finished and sent.starts == 1
    folders = [job.folder.path.name for job in online]
    weights = [[name for name in run_of(server, job).makes if not name.startswith("run-")] for job in online]
    assert [{*names} for names in weights] == [{*folders[:1]}, {*folders[:2]}, {*folders[1:]}]
    assert [run_of(server, job).uses for job in online] == [[], folders[:1], folders[1:2]], "lineage"


def test_a_stopped_run_goes_on_online_with_every_row_once(
    chain: Any, server: Wandb, log_in: Callable[..., None]
) -> None:
    log_in(server.address)
    (job,) = chain(*ONLINE)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        before_batch(patch, 10, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        run_chain([job], Workload())
    assert 0 < len(run_of(server, job).history) < len(job.folder.read_metrics()) + 4
    run_chain([job], Workload())
    assert len(server.runs) == 1 and run_of(server, job).starts == 2
    assert_server_has_every_row_once(server, job)


def sync(run: Path) -> None:
    done = subprocess.run([WANDB, "sync", str(run)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_offline_runs_can_be_sent_before_and_after_they_are_resumed(
    chain: Any, server: Wandb, log_in: Callable[..., None], tmp_path: Path
) -> None:
    log_in(server.address)
    (job,) = chain(*OFTEN)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        before_batch(patch, 10, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        run_chain([job], Workload())
    for run in offline_runs(tmp_path):
        sync(run)
    early = len(run_of(server, job).history)
    assert early > 2
    run_chain([job], Workload())
    for run in offline_runs(tmp_path):
        sync(run)
    assert len(run_of(server, job).history) > early and run_of(server, job).finished
    assert_server_has_every_row_once(server, job)


@pytest.mark.parametrize("trouble", ["unreachable", "silent", "failing", "refusing", "no login"])
def test_a_server_that_cannot_be_used_stops_no_training(
    trouble: str,
    chain: Any,
    server: Wandb,
    log_in: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(wandb_runs, "say_once", lambda *line: said.append(line))
    monkeypatch.setattr(wandb_runs, "PATIENCE", 2.0)
    log_in("http://127.0.0.1:9" if trouble == "unreachable" else server.address)
    if trouble == "no login":
        monkeypatch.delenv("WANDB_API_KEY")
    server.state = trouble
    jobs = chain(*ONLINE, *(CURRICULUM[:2] if trouble == "refusing" else ()))
    run_chain(jobs, Workload())
    ((topic, text),) = said
    assert topic == "wandb" and SAID in text and "wandb sync" in text
    runs = {path.name.split("-", 3)[-1]: path for path in offline_runs(tmp_path)}
    for job in jobs:
        assert_every_row_once(job, runs[str(id_of(job.folder.path))])
    assert len(runs) == len(jobs) and not server.runs
    assert "Traceback" not in capsys.readouterr().err


def assert_all_is_offline_and_can_be_sent(job: Job, tmp_path: Path, server: Wandb) -> None:
    (run,) = offline_runs(tmp_path)
    assert_every_row_once(job, run)
    summary = {key: value for one in records(run, "summary") for key, value in one["update"].items()}
    assert "evaluation/token_accuracy" in summary
    tables = [key for one in records(run, "history") for key in one["item"] if key == "val/reconstructions._type"]
    assert len(tables) == 3
    sync(run)
    assert_server_has_every_row_once(server, job)


@pytest.mark.parametrize("method", ["log", "log_artifact", "finish"])
def test_what_fails_in_the_middle_is_done_again_offline(
    method: str,
    chain: Any,
    server: Wandb,
    log_in: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from wandb.errors import CommError
    from wandb.sdk.wandb_run import Run

    said: list[tuple[str, str]] = []
    monkeypatch.setattr(wandb_runs, "say_once", lambda *line: said.append(line))
    original, calls = getattr(Run, method), [0]

    def fail(run: Any, *arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if not run.offline and (method != "log" or calls[0] >= 5):
            raise CommError("the server is gone")
        return original(run, *arguments, **options)

    monkeypatch.setattr(Run, method, fail)
    log_in(server.address)
    (job,) = chain(*ONLINE)
    run_chain([job], Workload())
    ((_, text),) = said
    assert text.startswith("Weights & Biases: the server is gone. Runs go on offline")
    assert_all_is_offline_and_can_be_sent(job, tmp_path, server)


@pytest.mark.slow
def test_a_server_that_fails_in_the_middle_is_left(
    chain: Any, server: Wandb, log_in: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """wandb itself waits for about 20 seconds at each table and at each artifact."""
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(wandb_runs, "say_once", lambda *line: said.append(line))
    monkeypatch.setattr(wandb_runs, "PATIENCE", 5.0)
    log_in(server.address)
    before_batch(monkeypatch, 10, lambda: setattr(server, "state", "failing"))
    (job,) = chain(*ONLINE)
    run_chain([job], Workload())
    assert len(said) == 1 and SAID in said[0][1]
    server.state = WELL
    assert_all_is_offline_and_can_be_sent(job, tmp_path, server)


def test_a_command_says_once_that_its_runs_are_offline(
    corpus: Path, server: Wandb, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Also where several workers find that out, and then the report's own run."""
    server.state = "refusing"
    home = tmp_path / "home"
    home.mkdir()
    runs = tmp_path / "runs"
    arms = ("+experiment=copy_curriculum", "arm=blank_copy", "seed=0,1")
    done = subprocess.run(
        [sys.executable, "-m", "memlab.run", *smoke(corpus, runs), *arms, "logger=wandb_online"],
        env={**environment, **variables(server.address, home)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(SAID, done.stdout)) == 1 and "Traceback" not in done.stdout + done.stderr
    assert len(offline_runs(runs)) == 5, "two autoencoders, two decoders, the report"
    assert not server.runs

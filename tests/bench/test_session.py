"""Repetitions on disk: what is measured, what is not measured again, and what is refused."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from memlab.bench import session
from memlab.bench.session import metrics_of, print_sessions, require_measurable_speed, run_sessions
from memlab.bench.throughput import Rounds
from memlab.config.compose import compose_sweep
from memlab.config.measured import points_of
from memlab.config.plan import plan_all
from memlab.config.stage import Chain, Job
from memlab.errors import UserError
from memlab.report.collect import collect, is_finished
from tests.conftest import smoke

Chains = Callable[..., list[Chain]]
ROUNDS: dict[str, list[float]] = {
    "step_seconds": [0.5, 0.25, 1.0],
    "tokens": [64.0],
    "peak_bytes": [3 * 2.0**20],
    "operations": [5e6],
}


@pytest.fixture
def chains_of(corpus: Path, tmp_path: Path) -> Chains:
    def chains(*overrides: str) -> list[Chain]:
        words = ["+experiment=throughput", "arm=memory,full_context", *smoke(corpus, tmp_path), *overrides]
        return plan_all(compose_sweep(words).configs)

    return chains


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arms of every repetition that is measured; the numbers are made up."""
    asked: list[list[str]] = []

    def repetition(jobs: Mapping[str, Job]) -> Iterator[tuple[str, Rounds]]:
        asked.append([f"{job.config['architecture']['name']} {arm} {job.config['seed']}" for arm, job in jobs.items()])
        yield "all", {arm: ROUNDS for arm in jobs}

    monkeypatch.setattr(session, "repetition", repetition)
    return asked


def test_each_repetition_of_an_architecture_measures_all_its_arms(chains_of: Chains, measured: list[list[str]]) -> None:
    chains = chains_of("architecture=mixer,transformer", "seed=0,1")
    assert run_sessions(chains) == []
    assert [sorted(arms) for arms in measured] == [
        [f"{architecture} full_context {seed}", f"{architecture} memory {seed}"]
        for architecture in ("mixer", "transformer")
        for seed in (0, 1)
    ]
    assert all(map(is_finished, points_of(chains)))


def test_only_what_is_missing_is_measured(chains_of: Chains, measured: list[list[str]], tmp_path: Path) -> None:
    run_sessions(chains_of("arm=memory", "seed=0,1"))
    chains = chains_of("arm=memory", "seed=0,1,2")
    run_sessions(chains)
    assert [arms[0][-1] for arms in measured] == ["0", "1", "2"], "more repetitions lie in the same folder"
    [file] = tmp_path.glob("measurements/*/repetition-1.json")
    file.unlink()
    run_sessions(chains)
    assert measured[3:] == [["mixer memory 1"]]


def test_what_can_change_a_speed_is_another_measurement(chains_of: Chains) -> None:
    changes = ("arm=memory", "scale.width=64", "measurement.rounds=7", "trainer.threads=1", "trainer.batch_size=4")
    folders = [{point["folder"] for point in points_of(chains_of("seed=0", *more))} for more in ([], *zip(changes))]
    assert [len(folder) for folder in folders] == [1] * 6 and len(set.union(*folders)) == 6


def test_rows_are_in_the_form_of_reports(chains_of: Chains, measured: list[list[str]], tmp_path: Path) -> None:
    chains = chains_of("seed=0,1")
    run_sessions(chains)
    rows = collect(points_of(chains))
    assert {(row["arm"], row["seed"]) for row in rows} == {(a, s) for a in ("memory", "full_context") for s in (0, 1)}
    assert {row["tokens_per_second"] for row in rows} == {128.0} and {row["tokens"] for row in rows} == {3 * 64}
    assert {row["peak_memory"] for row in rows} == {3.0} and {row["million_operations_per_token"] for row in rows} == {
        5.0
    }
    [run] = {row["run"] for row in rows}
    assert {stage["run"] for row in rows for stage in row["stages"]} == {f"{run}/repetition-{seed}" for seed in (0, 1)}
    assert all("threads" in row["hardware"] and row["stages"][0]["commit"] == row["commit"] for row in rows)
    content = json.loads((tmp_path / "measurements" / run / "repetition-0.json").read_text())
    assert [row["rounds"] for row in content["rows"]] == [ROUNDS] * 2


def test_metrics_are_medians_in_units_that_tables_show() -> None:
    rounds = {
        "at_64/first_token_seconds": [0.3, 0.1, 0.2],
        "at_64/token_seconds": [0.004, 0.002],
        "at_64/state_bytes": [2.0**20],
        "read_64/8": [0.5],
    }
    found = metrics_of(rounds)
    assert found == {
        "at_64/first_token_ms": pytest.approx(200),
        "at_64/token_ms": pytest.approx(3),
        "at_64/state_mib": 1.0,
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.devices=2", "one process on one device"),
        ("scale.timing.contexts=[12]", "choose multiples of scale.chunk_length"),
        ("measurement.parts=[walk]", "choose some of train"),
    ],
)
def test_mistakes_are_found_before_anything_is_measured(chains_of: Chains, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        require_measurable_speed(chains_of("arm=memory", "seed=0", override), "local")


def test_jobs_of_a_cluster_cannot_take_turns(chains_of: Chains) -> None:
    with pytest.raises(UserError, match="hydra/launcher=slurm: speeds are measured in the command's own process"):
        require_measurable_speed(chains_of("arm=memory", "seed=0"), "slurm")


def test_busy_machines_are_named(
    chains_of: Chains, measured: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session.Others, "cores", lambda self: 1.25)
    run_sessions(chains_of("seed=0"))
    assert "other processes used up to 1.2 cores meanwhile: measure again" in " ".join(capsys.readouterr().out.split())


def test_the_plan_says_what_would_be_measured(
    chains_of: Chains, measured: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run_sessions(chains_of("seed=0"))
    print_sessions(chains_of("seed=0,1"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "memory" in line]
    assert lines[-1][1:9:2] == ["mixer", "memory", "train,", "│"] and "1" in lines[-1]
    assert len(measured) == 1

"""Experiments that measure speed: all arms of an architecture in this process, in turns, a file per repetition.

    runs/measurements/<experiment>-<hash>/repetition-<seed>.json     {"rows": a row per arm}, as reports take them

The folder's hash is made of all arms of one architecture, because they take turns; see memlab/config/measured.py. An
interrupted command goes on with the next repetition that has no file.
"""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from memlab.bench.throughput import Rounds, how_of, repetition, steps_of
from memlab.config.measured import repetition_file, sessions
from memlab.config.stage import Chain, Job
from memlab.errors import UserError
from memlab.processes import ranks
from memlab.processes.cpu import prepare_cpu
from memlab.processes.machine import BUSY, Others
from memlab.progress import Bars, console
from memlab.report.measured import ROUNDS
from memlab.storage.files import write_json
from memlab.storage.provenance import commit, hardware, versions

HERE = ("basic", "local")  # launchers that leave the command in this process
MIB, MILLION, MILLISECONDS = 2**20, 1e6, 1e3


def require_measurable_speed(chains: Sequence[Chain], launcher: str) -> None:
    """Raise UserError if speeds cannot be measured here, or an arm cannot be measured as its config says."""
    if launcher not in HERE:
        raise UserError(
            f"hydra/launcher={launcher}: speeds are measured in the command's own process, so that arms take turns;"
            " submit the command itself, with hydra/launcher=basic"
        )
    settings = chains[0].jobs[-1].settings
    if settings["devices"] * settings["nodes"] * ranks.world() > 1:
        raise UserError("speeds are measured in one process on one device: set trainer.devices=1 and trainer.nodes=1")
    for chain in chains:
        if len(chain.jobs) > 1:
            raise UserError(f"{chain.label}: speeds need no trained weights, take encoder=untrained")
        how_of(chain.jobs[-1]).require(chain.jobs[-1])


def run_sessions(chains: Sequence[Chain]) -> list[str]:
    """Measure what was not measured yet; return no messages, as launchers do where nothing failed."""
    settings = chains[0].jobs[-1].settings
    if settings["threads"] is not None:
        torch.set_num_threads(settings["threads"])
    prepare_cpu()
    busy = [0.0]
    for folder, own in sessions(chains).items():
        busy += _measure(folder, own)
    if max(busy) > BUSY:
        console.print(
            f"warning: other processes used up to {max(busy):.1f} cores meanwhile: measure again on an idle machine",
            markup=False,
        )
    return []


def print_sessions(chains: Sequence[Chain]) -> None:
    """Print what would be measured."""
    table = Table("architecture", "arm", "measured", "repetitions to measure", "folder", title="plan")
    for folder, own in sessions(chains).items():
        left = _missing(folder, own)
        for arm, job in _jobs(own).items():
            parts = ", ".join(how_of(job).parts)
            table.add_row(own[0].choices["architecture"], arm, parts, str(len(left)), folder.name)
    console.print(table)
    console.print("nothing is trained: speeds are measured in this process, with random weights", markup=False)


def _measure(folder: Path, chains: Sequence[Chain]) -> list[float]:
    """Measure the repetitions that have no file; return how many cores other processes used during each."""
    architecture, left, busy = chains[0].choices["architecture"], _missing(folder, chains), []
    if not left:
        console.print(f"{architecture}: measured before, {folder}; delete the folder to measure again", markup=False)
    with Bars() as bars:
        bar = bars.bar(f"{architecture}, {len(left)} repetitions", sum(steps_of(_jobs(own)) for own in left.values()))
        for seed, own in left.items():
            others, started = Others(), time.perf_counter()
            rounds: Rounds = {}
            for note, measured in repetition(_jobs(own)):
                for arm, quantities in measured.items():
                    rounds.setdefault(arm, {}).update(quantities)
                bar.update(bar.done + 1, f"repetition {seed}: {note}")
            busy.append(others.cores())
            rows = _rows(folder, own, rounds, time.perf_counter() - started, busy[-1])
            write_json(folder / repetition_file(seed), {"rows": rows})
    return busy


def _missing(folder: Path, chains: Sequence[Chain]) -> dict[int, list[Chain]]:
    """Return the chains of every repetition that has no file."""
    by_seed: dict[int, list[Chain]] = {}
    for chain in chains:
        if not (folder / repetition_file(chain.choices["seed"])).is_file():
            by_seed.setdefault(chain.choices["seed"], []).append(chain)
    return by_seed


def _jobs(chains: Sequence[Chain]) -> dict[str, Job]:
    return {chain.choices["arm"]: chain.jobs[-1] for chain in chains}


def _rows(
    folder: Path, chains: Sequence[Chain], rounds: Rounds, seconds: float, other_cores: float
) -> list[dict[str, Any]]:
    """Return the rows of a repetition, which took `seconds` for all arms together."""
    code, dirty = commit()
    machine = _one_line({**hardware(), "threads": torch.get_num_threads()})
    about = {"commit": code, "dirty": bool(dirty), "hardware": machine}
    stage: dict[str, Any] = {
        "run": f"{folder.name}/repetition-{chains[0].choices['seed']}",
        "name": "repetition",
        "of": "measurement",
        **{"steps": 0, "tokens": 0, "seconds": seconds},
        **about,
        "versions": _one_line(versions()),
        "curve": {},
    }
    common: dict[str, Any] = {
        "other_cores": other_cores,
        **about,
        "run": folder.name,
        "windows": {},
        "places": {},
        "stages": [stage],
    }
    rows = []
    for chain in chains:
        own = rounds[chain.choices["arm"]]
        rows.append({**chain.choices, **metrics_of(own), **_cost(own), **common, ROUNDS: own})
    return rows


def metrics_of(quantities: dict[str, list[float]]) -> dict[str, float]:
    """Return a row's metrics: medians over rounds, in units that tables can show."""
    middle = {name: statistics.median(values) for name, values in quantities.items()}
    found = {}
    if "step_seconds" in middle:
        found["tokens_per_second"] = middle["tokens"] / middle["step_seconds"]
        found["million_operations_per_token"] = middle["operations"] / MILLION
        found["peak_memory"] = middle["peak_bytes"] / MIB
    for name, value in middle.items():
        where, _, quantity = name.rpartition("/")
        if quantity in ("state_bytes", "text_state_bytes"):
            found[f"{where}/{quantity.removesuffix('_bytes')}_mib"] = value / MIB
        elif quantity in ("first_token_seconds", "token_seconds"):
            found[f"{where}/{quantity.removesuffix('_seconds')}_ms"] = value * MILLISECONDS
    return found


def _cost(quantities: dict[str, list[float]]) -> dict[str, float]:
    """Return how many training steps were timed, their tokens, and the seconds of everything that was timed."""
    steps = len(quantities.get("step_seconds", []))
    tokens = quantities.get("tokens", [0.0])[0]
    timed = [sum(values) for name, values in quantities.items() if name.endswith("seconds") or name.startswith("read_")]
    return {"steps": steps, "tokens": steps * tokens, "seconds": sum(timed)}


def _one_line(values: dict[str, Any]) -> str:
    return "; ".join(f"{key} {value}" for key, value in values.items())

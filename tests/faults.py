"""Kill a small experiment with kill -9 at random moments: python -m tests.faults [--kills 100] [--seed 0].

The experiment trains in two workers. A kill hits one of the workers, the command alone, or all of its processes at
once. A round runs the experiment, kills something of it and, where the command has ended, runs it again, until it ends
by itself; rounds follow until there were enough kills. Every round asks that all folders are usable, that nothing
finished was trained again, and that the weights are those of an undisturbed run.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from memlab.progress import Bars
from memlab.runs.state import run_folders, state_of
from memlab.runs.verify import problems
from tests.conftest import ROOT, smoke, write_corpus

# Three arms that share an encoder, one of them a curriculum of two stages, and a checkpoint every few steps. Training
# takes longer than start-up, so that most kills hit a stage.
EXPERIMENT = (
    "+experiment=copy_curriculum",
    "arm=direct_copy,blank_copy,curriculum",
    "scale.stages.autoencoder.steps=300",
    "scale.stages.memory.steps=300",
    "trainer.checkpoint_every=7",
    "trainer.log_every=3",
    "trainer.threads=1",
    "hydra.launcher.parallel=2",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts = run(options.kills, random.Random(options.seed))
    print(", ".join(f"{number} {what}" for what, number in counts.items()))


def run(kills: int, chance: random.Random) -> Counter[str]:
    """Return what happened, counted. Raises AssertionError at the first thing that must not happen."""
    counts: Counter[str] = Counter(kills=0)
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name, "corpus")
        write_corpus(corpus)
        started = time.monotonic()
        process = _start(corpus, Path(name, "undisturbed"))
        assert process.wait() == 0
        whole = time.monotonic() - started
        expected = _weights(Path(name, "undisturbed"))
        with Bars() as bars:
            bar = bars.bar("kills", kills)
            while counts["kills"] < kills:
                _round(corpus, Path(name, f"round {counts['rounds']}"), expected, whole, kills, chance, counts)
                counts["rounds"] += 1
                bar.update(counts["kills"])
    return counts


def _round(
    corpus: Path, runs: Path, expected: dict[str, bytes], whole: float, kills: int, chance: random.Random,
    counts: Counter[str],
) -> None:  # fmt: skip
    finished: dict[Path, int] = {}  # when the weights of finished stages were written
    process = _start(corpus, runs)
    while True:
        try:
            assert process.wait(chance.uniform(0, whole) if counts["kills"] < kills else None) == 0
        except subprocess.TimeoutExpired:
            counts["kills"] += 1
            counts[f"of {_kill(process, chance)}"] += 1
            counts[f"in {_doing(runs)}"] += 1
        for path, written in finished.items():
            assert path.stat().st_mtime_ns == written, f"{path.parent.name} was trained again"
        finished = {path.with_name("model.safetensors"): 0 for path in runs.glob("stages/*/finished.json")}
        finished = {path: path.stat().st_mtime_ns for path in finished}
        found = [problem for folder in run_folders(runs) for problem in problems(state_of(folder))]
        assert not found, found
        if process.returncode == 0:
            break
        if process.returncode is not None:
            process = _start(corpus, runs)
    assert _weights(runs) == expected, "other weights than those of the undisturbed run"


def _kill(process: "subprocess.Popen[bytes]", chance: random.Random) -> str:
    """Kill something of a command and return what: half of the time one of its workers, if it has some."""
    workers = workers_of(process.pid)
    if workers and chance.random() < 0.5:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(chance.choice(workers), signal.SIGKILL)
        return "a worker"
    victim = chance.choice(("the command alone", "all processes"))
    if victim == "all processes":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    return victim


def workers_of(command: int) -> list[int]:
    """Return the processes of a command's workers; they are forked from the process that imports for them."""
    return [worker for child in _children(command) for worker in _children(child)]


def _children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def _start(corpus: Path, runs: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "memlab.run", *smoke(corpus, runs), *EXPERIMENT]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # tests.conftest has removed what the user has set
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _doing(runs: Path) -> str:
    """Return what the process was doing when it was killed, as far as its files tell."""
    if any(folder.lock.exists() for folder in run_folders(runs)):
        return "a stage"
    return "start-up or between stages"


def _weights(runs: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in runs.glob("stages/*/model.safetensors")}


if __name__ == "__main__":
    main()

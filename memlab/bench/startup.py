"""Seconds from a command to its first training step (smoke scale, data prepared), and of commands without training.

python -m memlab.bench.startup [--repetitions 3]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.table import Table

from memlab.progress import Bars, console
from memlab.storage.provenance import hardware

RUN = [sys.executable, "-m", "memlab.run"]
TRAINS_NOTHING = {
    "--help": ["--help"],
    "--cfg job": ["+experiment=copy_curriculum", "--cfg", "job"],
    "a config error": ["scale.widht=3"],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m memlab.bench.startup", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    repetitions = parser.parse_args().repetitions
    table = Table("command", "seconds (median)", "least", "most")
    with tempfile.TemporaryDirectory(prefix="memlab-bench-") as folder, Bars() as bars:
        bar = bars.bar("startup", (1 + len(TRAINS_NOTHING)) * repetitions + 1)
        seconds: dict[str, list[float]] = {"to the first training step, smoke": [], **{n: [] for n in TRAINS_NOTHING}}
        first_step(Path(folder), seed=0)  # prepares the data
        bar.update(1)
        for number in range(repetitions):
            for name, values in seconds.items():
                if name in TRAINS_NOTHING:
                    start = time.perf_counter()
                    subprocess.run([*RUN, *TRAINS_NOTHING[name]], capture_output=True, check=False)
                    values.append(time.perf_counter() - start)
                else:
                    values.append(first_step(Path(folder), seed=number + 1))
                bar.update(bar.done + 1, name)
    for name, values in seconds.items():
        table.add_row(name, *(f"{f(values):.2f}" for f in (statistics.median, min, max)))
    console.print(table)
    console.print(str(hardware()), markup=False)


def first_step(runs: Path, seed: int) -> float:
    """Return the seconds until the run's first row of metrics exists, and wait for the run to end."""
    before = set(runs.glob("stages/*/metrics.jsonl"))
    start = time.perf_counter()
    overrides = ["scale=smoke", f"runs_dir={runs}", f"seed={seed}", "trainer.log_every=1"]
    with subprocess.Popen([*RUN, *overrides], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while set(runs.glob("stages/*/metrics.jsonl")) == before:
            if process.poll() is not None:
                assert process.stderr is not None
                raise SystemExit(f"error: the run ended before its first step: {process.stderr.read().decode()}")
            time.sleep(0.01)
        seconds = time.perf_counter() - start
    return seconds


if __name__ == "__main__":
    main()

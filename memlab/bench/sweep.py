"""Points per minute of a sweep, by layout, alone and beside a busy process: python -m memlab.bench.sweep.

Every run is a command of its own: four arms of copy_curriculum with a seed that no run had, at laptop scale with fewer
steps. Runs of all rows alternate; the text is prepared before. The busy process is a loop that this command starts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from rich.table import Table

from memlab.processes.machine import cores
from memlab.progress import Bars, console
from memlab.storage.provenance import hardware, origin

ARMS = ("no_memory", "trainable", "direct_copy", "blank_copy")
SWEEP = ["+experiment=copy_curriculum", f"arm={','.join(ARMS)}", "logger=none"]
SPINNING = {"GOMP_SPINCOUNT": "300000"}  # libgomp's own default, which memlab leaves alone if it is set


def layouts() -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return overrides and environment of each row."""
    one = ["hydra/launcher=basic", f"trainer.threads={cores()}"]
    return {
        f"{cores()} workers, 1 thread each": ([f"hydra.launcher.parallel={cores()}", "trainer.threads=1"], {}),
        f"1 process, {cores()} threads": (one, {}),
        f"1 process, {cores()} threads that spin": (one, SPINNING),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m memlab.bench.sweep", description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="of each stage")
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--architecture", default="mixer")
    parser.add_argument("--json", type=Path, help="write the seconds there, too")
    options = parser.parse_args()
    base = [*SWEEP, f"scale={options.scale}", f"architecture={options.architecture}"]
    base += [f"scale.stages.{stage}.steps={options.steps}" for stage in ("autoencoder", "memory")]
    seconds: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="memlab-bench-") as folder, Bars() as bars:
        bar = bars.bar("sweep", 2 * len(layouts()) * options.repetitions + 1)
        seeds = count()
        timed([*base, f"runs_dir={folder}", f"seed={next(seeds)}"], {})  # prepares the text
        bar.update(1)
        for _ in range(options.repetitions):
            for name, (overrides, environment) in layouts().items():
                words = [*base, f"runs_dir={folder}", *overrides]
                row = seconds.setdefault(name, {"alone": [], "beside": []})
                row["alone"].append(timed([*words, f"seed={next(seeds)}"], environment))
                bar.update(bar.done + 1, name)
                with busy_process():
                    row["beside"].append(timed([*words, f"seed={next(seeds)}"], environment))
                bar.update(bar.done + 1, name)
    _print(seconds)
    if options.json is not None:
        where = origin()
        options.json.write_text(json.dumps({**where, "command": base, "seconds": seconds}, indent=2) + "\n")


def timed(overrides: list[str], environment: dict[str, str]) -> float:
    """Return the seconds of a command. Raises SystemExit with what the command said if it fails."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "memlab.run", *overrides]
    result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\n{result.stderr}")
    return time.perf_counter() - start


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy during the body."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _print(seconds: dict[str, dict[str, list[float]]]) -> None:
    table = Table("layout", "alone, s (least-most)", "points/min", "beside a busy process, s", "points/min", "ratio")
    for name, row in seconds.items():
        medians = {where: statistics.median(values) for where, values in row.items()}
        cells = [
            cell
            for where, values in row.items()
            for cell in (
                f"{medians[where]:.1f} ({min(values):.1f}-{max(values):.1f})",
                f"{60 * len(ARMS) / medians[where]:.1f}",
            )
        ]
        table.add_row(name, *cells, f"{medians['beside'] / medians['alone']:.2f}")
    console.print(table)
    console.print(str(hardware()), markup=False)


if __name__ == "__main__":
    main()

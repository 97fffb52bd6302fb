"""Make the tables of docs/performance.md from the rows of `python -m memlab.bench --against baseline --json`.

python -m memlab.bench.summary FILE
"""

import argparse
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from memlab.bench.cases import ARCHITECTURES, PHASES
from memlab.progress import console
from memlab.storage.files import read_json

Row = dict[str, Any]
RANGES = {
    "speedup_median": "speed-up",
    "matmul_share": "share of peak",
    "peak_ratio": "peak memory, ratio",
    "activation_ratio": "memory beyond what is held before, ratio",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m memlab.bench.summary", description=__doc__)
    parser.add_argument("file", type=Path)
    rows = read_json(parser.parse_args().file)
    for table in (steps(rows), ranges(rows), origin(rows)):
        console.print(table, markup=False, soft_wrap=True)


def steps(rows: list[Row]) -> str:
    """Return the table of whole training steps: a line per objective and model, both architectures side by side."""
    heads = ["objective, model", *(f"{name} | share of peak" for name in ARCHITECTURES)]
    lines: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["phase"] == "step":
            lines.setdefault(_name(row), {})[row["architecture"]] = row
    text = [f"| {' | '.join(heads)} |", "|---" * (1 + 2 * len(ARCHITECTURES)) + "|"]
    for name, found in lines.items():
        cells = (_step(found[key]) if key in found else "- | -" for key in ARCHITECTURES)
        text.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def ranges(rows: list[Row]) -> str:
    """Return the table of least, median and most over all cases, by phase."""
    text = [f"| phase | {' | '.join(RANGES.values())} |", "|---" * (1 + len(RANGES)) + "|"]
    for phase in PHASES:
        own = [row for row in rows if row["phase"] == phase]
        if own:
            text.append(f"| {phase.replace('_', ' ')} | {' | '.join(_range(row[k] for row in own) for k in RANGES)} |")
    return "\n".join(text) + "\n"


def origin(rows: list[Row]) -> str:
    """Return the commits and the hardware that the rows name."""
    commits = ", ".join(sorted({row["commit"][:7] + (" (changed)" if row["dirty"] else "") for row in rows}))
    machines = sorted({", ".join(f"{name} {value}" for name, value in row["hardware"].items()) for row in rows})
    return f"{len(rows)} rows, commit {commits}, {'; '.join(machines)}"


def _name(row: Row) -> str:
    objective, encoder, model = (str(row[key]).replace("_", " ") for key in ("objective", "encoder", "model"))
    if model == "memory":
        return f"{objective}, {'no' if encoder == 'none' else encoder} encoder"
    return objective if model == "autoencoder" else f"{objective}, {model}"


def _step(row: Row) -> str:
    least, most = row["speedup_min"], row["speedup_max"]
    return f"{row['speedup_median']:.2f}x ({least:.2f}-{most:.2f}) | {row['matmul_share']:.0%}"


def _range(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{found[0]:.2f} - {statistics.median(found):.2f} - {found[-1]:.2f}"


if __name__ == "__main__":
    main()

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
    compiled = any("compiled_speedup_median" in row for row in rows)
    cells_of = ["{}", "over the compiled baseline", "share of peak"] if compiled else ["{}", "share of peak"]
    heads = ["objective, model", *(cell.format(name) for name in ARCHITECTURES for cell in cells_of)]
    lines: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["phase"] == "step":
            lines.setdefault(_name(row), {})[row["architecture"]] = row
    text = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, found in lines.items():
        cells = (_step(found[key]) if key in found else " | ".join("-" * len(cells_of)) for key in ARCHITECTURES)
        text.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def ranges(rows: list[Row]) -> str:
    """Return the table of least, median and most over all cases, by phase."""
    text = [f"| phase | {' | '.join(RANGES.values())} |", "|---" * (1 + len(RANGES)) + "|"]
    for phase in PHASES:
        own = [row for row in rows if row["phase"] == phase]
        if own:
            values = ([row[key] for row in own if key in row] for key in RANGES)
            cells = (_range(found) if found else "-" for found in values)
            text.append(f"| {phase.replace('_', ' ')} | {' | '.join(cells)} |")
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
    prefixes = ("", "compiled_") if "compiled_speedup_median" in row else ("",)
    ratios = ((row[f"{prefix}speedup_{part}"] for part in ("median", "min", "max")) for prefix in prefixes)
    cells = [f"{median:.2f}x ({least:.2f}-{most:.2f})" for median, least, most in ratios]
    return " | ".join((*cells, f"{row['matmul_share']:.0%}"))


def _range(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{found[0]:.2f} - {statistics.median(found):.2f} - {found[-1]:.2f}"


if __name__ == "__main__":
    main()

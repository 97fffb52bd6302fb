"""Show how cost grows with one size: a picture and a table from the rows of `python -m memlab.bench --json`.

python -m memlab.bench.scaling FILE... [--picture FILE.png]     each file varies one of the sizes
"""

import argparse
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from memlab.bench.cases import Size
from memlab.progress import console
from memlab.storage.files import read_json

Row = dict[str, Any]
NAMES = {
    "chunks": "chunks C", "length": "tokens per chunk L", "width": "width D", "vocab": "vocabulary V",
    "batch": "batch B", "layers": "layers N", "heads": "heads H",
}  # fmt: skip
SIDES = (("", "memlab", "-o"), ("baseline_", "baseline", "--s"))
QUANTITIES = (("seconds", 1.0, "seconds per step"), ("peak_bytes", 2**20, "peak memory (MiB)"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m memlab.bench.scaling", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path, help="write the picture there")
    options = parser.parse_args()
    groups = [(varied_size(rows), rows) for rows in map(read_json, options.files)]
    for varied, rows in groups:
        console.print(table(varied, rows), markup=False)
    if options.picture:
        _draw(groups, options.picture)
        console.print(f"picture: {options.picture}", markup=False)


def varied_size(rows: list[Row]) -> str:
    """Return the one size that differs between rows. Raises SystemExit if there is none, or several."""
    varied = [name for name in Size.__dataclass_fields__ if len({row[name] for row in rows}) > 1]
    if len(varied) != 1:
        raise SystemExit(f"error: a file must vary one size, not {', '.join(varied) or 'none'}")
    return varied[0]


def lines_of(rows: list[Row]) -> dict[str, list[Row]]:
    """Group rows that differ in the varied size alone, in the order of the file."""
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        lines[f"{row['architecture']} {row['objective']}"].append(row)
    return lines


def table(varied: str, rows: list[Row]) -> str:
    """Return a Markdown table. Exponent: x in cost ~ size^x between the two largest sizes."""
    heads = ["", NAMES[varied], "seconds", "exponent", "baseline", "speed-up", "peak MiB", "exponent", "baseline MiB"]
    text = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, line in lines_of(rows).items():
        for place, row in enumerate(line):
            last = place == len(line) - 1 and place > 0
            grows = [f"{_exponent(line, varied, key):.1f}" if last else "" for key, _, _ in QUANTITIES]
            cells = [name, f"{row[varied]:,}", f"{row['seconds']:.3f}", grows[0], f"{row['baseline_seconds']:.3f}"]
            cells += [f"{row['speedup_median']:.2f}", f"{row['peak_bytes'] / 2**20:,.0f}", grows[1]]
            cells.append(f"{row['baseline_peak_bytes'] / 2**20:,.0f}")
            text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def _exponent(line: list[Row], varied: str, key: str) -> float:
    before, last = line[-2:]
    return math.log(last[key] / before[key]) / math.log(last[varied] / before[varied])


def _draw(groups: list[tuple[str, list[Row]]], picture: Path) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator

    from memlab.report.colours import COLOURS
    from memlab.report.plotting import STYLE, save

    with rc_context(STYLE):
        figure = Figure(figsize=(2.6 * len(groups), 4.6), layout="constrained")
        grid = figure.subplots(2, len(groups), squeeze=False)
        for column, (varied, rows) in enumerate(groups):
            for axis, (key, unit, name) in zip(grid[:, column], QUANTITIES, strict=True):
                for colour, (label, line) in zip(list(COLOURS.values())[1:], lines_of(rows).items(), strict=False):
                    for prefix, side, style in SIDES:
                        values = [row[prefix + key] / unit for row in line]
                        sizes = [row[varied] for row in line]
                        axis.loglog(sizes, values, style, color=colour, markersize=3, label=f"{label}, {side}")
                axis.set_xlabel(NAMES[varied])
                axis.set_ylabel(name if column == 0 else "")
                axis.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
                axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
                axis.minorticks_off()
        handles = {h.get_label(): h for axis in grid.flat for h in axis.get_lines()}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
        save(figure, picture)


if __name__ == "__main__":
    main()

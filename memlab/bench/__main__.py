"""python -m memlab.bench [--against baseline] [--json FILE]: seconds, memory and share of this machine's peak.

Sizes take several values, separated by commas: --chunks 4,16,64 measures how cost grows.
"""

import argparse
import sys
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.table import Table

from memlab.bench.cases import ARCHITECTURES, ENCODERS, OBJECTIVES, PHASES, Size, all_cases
from memlab.errors import fail
from memlab.progress import Bars, console

SIZES = {field.name: field.default for field in fields(Size)}


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    for name, value in (SIZES if options.scale is None else sizes_of(options.scale)).items():
        if getattr(options, name) is None:
            setattr(options, name, [value])

    import torch

    from memlab.bench.measure import measure
    from memlab.processes.cpu import prepare_cpu
    from memlab.storage.files import write_json
    from memlab.storage.provenance import hardware, origin

    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: --device cuda: there is no GPU here, use --device cpu")
    torch.set_float32_matmul_precision("high" if options.device == "cuda" else "highest")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    prepare_cpu()  # as a training run does; it serves both sides
    sizes = [Size(**dict(zip(SIZES, values, strict=True))) for values in product(*(getattr(options, s) for s in SIZES))]
    how = {"device": options.device, "autocast": options.precision == "bf16", "compile": options.compile}
    chosen = all_cases(sizes, options.architecture, options.objective, options.encoder)
    cases = [replace(case, **how) for case in chosen]
    threads = torch.get_num_threads()
    where = {**origin(), "threads": threads}
    rows: list[dict[str, Any]] = []
    with Bars() as bars:
        bar = bars.bar("bench", len(cases) * len(options.phase) * options.repetitions)
        for case in cases:
            bar.note = case.name
            rows += measure(
                case,
                options.phase,
                repetitions=options.repetitions,
                against_baseline=options.against is not None,
                memory=options.memory,
                tick=lambda: bar.update(bar.done + 1, bar.note),
            )
            if options.json:
                write_json(options.json, [{**row, **where} for row in rows])
    console.print(_table(rows, options))
    machine = ", ".join(f"{name} {value}" for name, value in hardware().items())
    changed = " (changed)" if where["dirty"] else ""
    console.print(f"{machine}, {threads} threads, commit {where['commit']}{changed}", markup=False)
    if options.json:
        console.print(f"rows: {options.json}", markup=False)


def sizes_of(scale: str) -> dict[str, int]:
    """Return the sizes of an option of the group scale. Ends the program for an unknown one."""
    from memlab.config.compose import compose_sweep

    try:
        config = compose_sweep([f"scale={scale}"]).configs[0].scale
    except Exception as error:
        fail(error, 2)
    names = {"length": "chunk_length", "batch": "batch_size"}
    return {name: config[names.get(name, name)] for name in SIZES}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m memlab.bench", description=__doc__)
    parser.add_argument("--against", choices=["baseline"], help="alternate with the published way of computing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--repetitions", type=int, default=7)
    for name, allowed in (
        ("architecture", ARCHITECTURES),
        ("objective", OBJECTIVES),
        ("encoder", ENCODERS),
        ("phase", PHASES),
    ):
        default = ",".join(allowed)
        parser.add_argument(f"--{name}", type=_some_of(allowed), default=list(allowed), help=f"some of {default}")
    for name, value in SIZES.items():
        parser.add_argument(f"--{name}", type=_numbers, metavar="N", help=f"default {value}")
    parser.add_argument("--scale", help="take the sizes of an option of scale=, such as laptop")
    parser.add_argument("--threads", type=int, help="of the CPU; by default what torch chooses")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile the blocks; time the baseline both ways")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out peak memory")
    return parser


def _some_of(allowed: tuple[str, ...]) -> Any:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r}: choose some of {', '.join(allowed)}")
        return chosen

    return parse


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: whole numbers, separated by commas") from None
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers of at least 1")
    return numbers


def _table(rows: list[dict[str, Any]], options: argparse.Namespace) -> Table:
    varied = [name for name in SIZES if len({row[name] for row in rows}) > 1]
    names = ["architecture", "model", "objective", "encoder", "phase", *varied]
    heads = [*names, "tokens/s", "share of peak", "peak MB"]
    against = options.against is not None
    prefixes = ("", "compiled_") if options.compile else ("",)
    if against:
        heads += [f"speed-up over the {prefix.replace('_', ' ')}baseline (min-max)" for prefix in prefixes]
        heads.append("memory ratio")
    table = Table(*heads)
    for row in rows:
        cells = [str(row[name]) for name in names]
        cells += [f"{row['tokens_per_s']:,.0f}", f"{row['matmul_share']:.0%}"]
        cells.append(f"{row['peak_bytes'] / 2**20:,.0f}" if row["peak_bytes"] is not None else "-")
        if against:
            for prefix in prefixes:
                median, least, most = (row[f"{prefix}speedup_{part}"] for part in ("median", "min", "max"))
                cells.append(f"{median:.2f} ({least:.2f}-{most:.2f})")
            cells.append(f"{row['peak_ratio']:.2f}" if "peak_ratio" in row else "-")
        table.add_row(*cells)
    return table


if __name__ == "__main__":
    main()

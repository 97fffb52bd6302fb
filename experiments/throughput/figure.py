"""What memories cost in training and save in decoding, and the best number of chunks: ratios, costs, a fitted model."""

import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from memlab.bench.cost_model import Cost, exponent, fit, fit_error, measured_best
from memlab.report.collect import Row
from memlab.report.colours import COLOURS
from memlab.report.curves import LINE_HEIGHT, spread
from memlab.report.dots import dot_chart
from memlab.report.expected import Expected
from memlab.report.measured import ROUNDS, median_ratio
from memlab.report.plotting import STYLE, WIDTH, Panel, looks_of, message, save

FULL = "full_context"
REFERENCES = (FULL, "no_memory", "recurrent", "memory")
DECODING = (FULL, "memory", "recurrent")  # drawn; half as wide an encoder makes no visible difference here
READING = ("reading_narrow", "reading")
SPEED, PEAK = "speed_vs_full_context", "peak_of_full_context"
COSTS = {  # of decoding: quantity, name, factor
    "first_token_seconds": ("seconds to the first token", 1.0),
    "token_seconds": ("milliseconds per token", 1e3),
    "state_bytes": ("state (MiB)", 2.0**-20),
}
RATIOS = {
    "first_token_seconds": "first_token",
    "token_seconds": "token",
    "state_bytes": "state",
    "text_state_bytes": "text_state",
}
HEIGHT = 2.6  # of a panel, in inches


def derive(rows: list[Row]) -> list[Row]:
    """Add ratios to other arms of the same repetition, and the best numbers of chunks."""
    arms = {(row["architecture"], row["seed"], row["arm"]): row for row in rows}
    derived = []
    for row in rows:
        others = {name: arms.get((row["architecture"], row["seed"], name)) for name in REFERENCES}
        more: dict[str, float | None] = {}
        for name, other in others.items():
            if other is not None:
                more[f"speed_vs_{name}"] = median_ratio(other, row, "step_seconds")
                more[f"peak_vs_{name}"] = median_ratio(other, row, "peak_bytes")
        full = others[FULL]
        if full is not None:
            more[PEAK] = median_ratio(row, full, "peak_bytes")
            more |= _at_longest(row, full)
        more |= _growth(row) | _chunks(row)
        derived.append({**row, **{key: value for key, value in more.items() if value is not None}})
    return derived


def _at_longest(row: Row, full: Row) -> dict[str, float | None]:
    """Return full context's costs over the arm's, at the longest context of both."""
    contexts = _contexts(row) & _contexts(full)
    if not contexts:
        return {}
    longest = max(contexts)
    ratios = {
        f"longest/{name}_ratio": median_ratio(full, row, f"at_{longest}/{quantity}")
        for quantity, name in RATIOS.items()
    }
    return {"longest/context": float(longest), **ratios}


def _growth(row: Row) -> dict[str, float | None]:
    contexts = sorted(_contexts(row))
    if len(contexts) < 2:
        return {}
    least, most = (_middle(row, f"at_{context}/state_bytes") for context in (contexts[0], contexts[-1]))
    return {"state_growth": most / least}


def _chunks(row: Row) -> dict[str, float | None]:
    """Return the exponents of the best number of chunks: as measured, and as the fitted model has it."""
    costs = _reading(row)
    if not costs:
        return {}
    model = fit(costs)
    texts = _texts(costs)
    fitted = [best for text in texts if (best := model.best_chunks(text)) is not None]
    return {
        "best_chunks_exponent": exponent(texts, [measured_best(_of(costs, text))[0] for text in texts]),
        "fitted_exponent": exponent(texts, fitted) if len(fitted) == len(texts) else None,
        "fit_error": fit_error(model, costs),
    }


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write figure.png (training), figure_decoding.png and figure_chunks.png, with .svg and .pdf beside them."""
    with rc_context(STYLE):
        training = [row for row in rows if "tokens_per_second" in row]
        if any(SPEED in row for row in training):
            save(_training(training, expected), path)
        for name, drawn, has in (("decoding", _decoding, _contexts), ("chunks", _reading_figure, _reading)):
            own = [row for row in rows if has(row)]
            if own:
                save(drawn(own, expected), path.with_name(f"{path.stem}_{name}{path.suffix}"))


def _training(rows: list[Row], expected: Expected) -> Figure:
    looks = looks_of(rows, expected)
    figure = Figure(figsize=(WIDTH, 1.4 + 0.42 * len(looks)), layout="constrained")
    axes = figure.subplots(1, 2)
    dot_chart(axes[0], rows, expected, Panel(SPEED, "tokens per second, full context = 1"), looks)
    dot_chart(axes[1], rows, expected, Panel(PEAK, "peak memory, full context = 1"), looks)
    axes[1].set_yticks(axes[1].get_yticks(), [])  # the names stand beside the first panel
    for axis, title in zip(axes, ("training speed (right: faster)", "training memory (left: less)"), strict=True):
        axis.set_title(f"{title}, 95 % intervals")
        axis.axvline(1, color="black", linewidth=0.6)
        axis.set_xlim(left=0)
    handles, labels = axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        figure.legend(list(unique.values()), list(unique), loc="outside lower center", ncols=len(unique))
    figure.suptitle(fill(message(rows, expected, SPEED), 95))
    return figure


def _decoding(rows: list[Row], expected: Expected) -> Figure:
    looks = looks_of(rows, expected)
    figure, grid, architectures = _grid(rows, len(COSTS))
    for axes, architecture in zip(grid, architectures, strict=True):
        own = [row for row in rows if row["architecture"] == architecture]
        for axis, (quantity, (name, unit)) in zip(axes, COSTS.items(), strict=True):
            ends = []
            for arm in DECODING:
                of_arm = [row for row in own if row["arm"] == arm]
                contexts = sorted(set.union(*map(_contexts, of_arm))) if of_arm else []
                if not contexts:
                    continue
                keys = [f"at_{context}/{quantity}" for context in contexts]
                values = [[unit * _middle(row, key) for row in of_arm if key in row[ROUNDS]] for key in keys]
                _line(axis, contexts, values, looks[arm].colour)
                ends.append((contexts[-1], float(np.mean(values[-1])), looks[arm].short, looks[arm].colour))
            _log_axes(axis, "tokens in front", name)
            axis.set_title(architecture)
            _name(axis, ends)
    figure.suptitle(
        "Decoding behind a text: the cost by the text's length (means; bands: least to greatest repetition)"
    )
    return figure


def _reading_figure(rows: list[Row], expected: Expected) -> Figure:
    figure, grid, architectures = _grid(rows, len(READING) + 1)
    for axes, architecture in zip(grid, architectures, strict=True):
        best = []
        for axis, arm in zip(axes, READING, strict=False):
            own = [row for row in rows if (row["architecture"], row["arm"]) == (architecture, arm)]
            axis.set_visible(bool(own))
            if own:
                _by_chunks(axis, own)
                narrow = "narrow model" if arm == READING[0] else "as wide as the other arms"
                axis.set_title(f"{architecture}, {narrow}")
                best.append((arm, own))
        _best(axes[-1], best, expected)
        axes[-1].set_title(f"{architecture}: best number of chunks")
    figure.suptitle("Reading n tokens in s chunks: measured (dots) and fitted cost model (lines)")
    return figure


def _by_chunks(axis: Axes, rows: list[Row]) -> None:
    """Draw the mean seconds by number of chunks, a colour per text, and the model fitted to all of them."""
    costs = _mean_costs(rows)
    model = fit(costs)
    ends = []
    for colour, text in zip(COLOURS.values(), _texts(costs), strict=False):
        of_text = _of(costs, text)
        chunks = sorted(of_text)
        axis.plot(chunks, [1e3 * of_text[s] for s in chunks], "o", color=colour, markersize=3)
        fine = np.geomspace(chunks[0], chunks[-1], 60)
        axis.plot(fine, [1e3 * model.seconds(text, s) for s in fine], color=colour, linewidth=1.2)
        ends.append((chunks[-1], 1e3 * of_text[chunks[-1]], f"n = {_count(text)}", colour))
    _log_axes(axis, "chunks s", "milliseconds")
    _name(axis, ends)


def _best(axis: Axes, best: list[tuple[str, list[Row]]], expected: Expected) -> None:
    """Draw the best s by n: measured (hollow: at an end of what was measured), fitted, and n^(2/3)."""
    ends = []
    for arm, rows in best:
        look = looks_of(rows, expected)[arm]
        costs = _mean_costs(rows)
        model = fit(costs)
        texts = _texts(costs)
        found = [measured_best(_of(costs, text)) for text in texts]
        for text, (chunks, inside) in zip(texts, found, strict=True):
            axis.plot(text, chunks, "o", color=look.colour, markerfacecolor=look.colour if inside else "white")
        fitted = [(text, best) for text in texts if (best := model.best_chunks(text)) is not None]
        axis.plot([text for text, _ in fitted], [s for _, s in fitted], color=look.colour, linewidth=1.2)
        last = fitted[-1] if fitted else (texts[-1], found[-1][0])
        ends.append((*last, "narrow" if arm == READING[0] else "wide", look.colour))
        if arm == READING[0]:
            rule = [found[0][0] * (text / texts[0]) ** (2 / 3) for text in texts]
            axis.plot(texts, rule, ":", color="black", linewidth=1)
            ends.append((texts[-1], rule[-1], "n^(2/3)", "black"))
    _log_axes(axis, "tokens n", "best s")
    _name(axis, ends)


def _grid(rows: list[Row], columns: int) -> tuple[Figure, np.ndarray, list[str]]:
    architectures = sorted({row["architecture"] for row in rows})
    figure = Figure(figsize=(WIDTH, HEIGHT * len(architectures) + 0.5), layout="constrained")
    return figure, figure.subplots(len(architectures), columns, squeeze=False), architectures


def _count(number: float) -> str:
    """Return a number of tokens or chunks: 512, 16k (16 times 1,024)."""
    return f"{number / 1024:g}k" if number >= 1024 else f"{number:g}"


def _line(axis: Axes, x: list[int], values: list[list[float]], colour: str) -> None:
    axis.plot(x, [float(np.mean(of)) for of in values], "o-", color=colour, markersize=3, linewidth=1.4)
    axis.fill_between(x, [min(of) for of in values], [max(of) for of in values], color=colour, alpha=0.15, linewidth=0)


def _log_axes(axis: Axes, x: str, y: str) -> None:
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.xaxis.set_major_locator(LogLocator(base=2, numticks=7))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _count(value)))
    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(labelsize=8)
    axis.set_xlabel(x)
    axis.set_ylabel(y)


def _name(axis: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write names at the right of logarithmic axes, level with their lines' ends but clear of each other."""
    low, high = np.log(axis.get_ylim())
    places = sorted(((math.log(y) - low) / (high - low), name, colour) for _, y, name, colour in ends)
    heights = [1.2 * LINE_HEIGHT / (HEIGHT - 0.9)] * len(places)
    for (_, name, colour), place in zip(places, spread([at for at, *_ in places], heights), strict=True):
        axis.annotate(name, (1.02, place), xycoords="axes fraction", color=colour, fontsize=8, va="center")


def _contexts(row: Row) -> set[int]:
    return {int(name.split("/")[0].removeprefix("at_")) for name in row[ROUNDS] if name.startswith("at_")}


def _reading(row: Row) -> list[Cost]:
    """Return tokens, chunks and seconds of the texts that a row's arm read."""
    keys = [name for name in row[ROUNDS] if name.startswith("read_")]
    places = [name.removeprefix("read_").split("/") for name in keys]
    return [(int(n), int(s), _middle(row, key)) for key, (n, s) in zip(keys, places, strict=True)]


def _mean_costs(rows: list[Row]) -> list[Cost]:
    seconds: dict[tuple[int, int], list[float]] = {}
    for row in rows:
        for tokens, chunks, value in _reading(row):
            seconds.setdefault((tokens, chunks), []).append(value)
    return [(*key, math.fsum(values) / len(values)) for key, values in seconds.items()]


def _texts(costs: list[Cost]) -> list[int]:
    return sorted({tokens for tokens, *_ in costs})


def _of(costs: list[Cost], text: int) -> Mapping[int, float]:
    return {chunks: seconds for tokens, chunks, seconds in costs if tokens == text}


def _middle(row: Row, quantity: str) -> float:
    return statistics.median(row[ROUNDS][quantity])

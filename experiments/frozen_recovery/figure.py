"""The share of a trained memory's gain that frozen encoders recover, along training."""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memlab.report.collect import Row
from memlab.report.curves import name_lines
from memlab.report.expected import Expected
from memlab.report.layout import standard_figures
from memlab.report.plotting import STYLE, WIDTH, Look, Panel, looks_of, message, save
from memlab.report.side import SEEDS_FOR_T, Floats
from memlab.report.uncertainty import over_seeds

NONE, TRAINABLE = "no_memory_clm", "memory"
FROZEN = ("frozen_autoencoder_clm", "frozen_causal_clm")
LOSS = "cross_entropy"
HEIGHT = 2.8  # of a panel, in inches


def derive(rows: list[Row]) -> list[Row]:
    """Add the recovered share and the first validation's numbers to each row, where its controls are there."""
    controls = {(row["architecture"], row["seed"], row["arm"]): row for row in rows}
    derived = []
    for row in rows:
        none, trainable = (controls.get((row["architecture"], row["seed"], arm)) for arm in (NONE, TRAINABLE))
        more = {"cross_entropy_early": _losses(row)[0]} if len(_losses(row)) else {}
        if row["arm"] in FROZEN and none is not None and trainable is not None:
            shares = _shares(none, row, trainable)
            more["recovered_share"] = float(_share(none[LOSS], row[LOSS], trainable[LOSS]))
            more |= {"recovered_share_early": float(shares[0])} if len(shares) else {}
        derived.append({**row, **more})
    return derived


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figure of the shares to `path` (.png), and the losses to figure_loss.png and figure_cost.png."""
    standard_figures(rows, expected, path.with_name(f"figure_loss{path.suffix}"), Panel(LOSS, "cross-entropy"))
    with rc_context(STYLE):
        save(_figure(rows, expected), path)


def _figure(rows: list[Row], expected: Expected) -> Figure:
    architectures = sorted({row["architecture"] for row in rows})
    figure = Figure(figsize=(WIDTH, HEIGHT * len(architectures) + 0.8), layout="constrained")
    looks = looks_of(rows, expected)
    for axis, architecture in zip(figure.subplots(len(architectures), squeeze=False)[:, 0], architectures, strict=True):
        _panel(axis, [row for row in rows if row["architecture"] == architecture], looks)
        axis.set_title(architecture)
    figure.suptitle(fill(message(rows, expected, LOSS), 95))
    return figure


def _panel(axis: Axes, rows: list[Row], looks: dict[str, Look]) -> None:
    """Draw the share of every frozen arm over steps, its 95 % interval over seeds, and its fit in log(step)."""
    by_seed = {(row["arm"], row["seed"]): row for row in rows}
    ends: list[tuple[float, float, Look]] = []
    last = 1.0
    for arm in FROZEN:
        seeds = [seed for name, seed in by_seed if name == arm]
        seeds = [seed for seed in seeds if (NONE, seed) in by_seed and (TRAINABLE, seed) in by_seed]
        curves = [_shares(*(by_seed[name, seed] for name in (NONE, arm, TRAINABLE))) for seed in seeds]
        if not curves or not len(curves[0]):
            continue
        look = looks[arm]
        steps = np.array(by_seed[arm, seeds[0]]["stages"][-1]["curve"]["steps"], dtype=float)
        shares_SP = np.array(curves)
        if len(seeds) >= SEEDS_FOR_T:
            found = [over_seeds(values, seeds) for values in shares_SP.T]
            axis.fill_between(
                steps, [f.low for f in found], [f.high for f in found], color=look.colour, alpha=0.15, linewidth=0
            )
        mean = shares_SP.mean(0)
        axis.plot(steps, mean, "o-", color=look.colour, markersize=3, label=look.label)
        slope, offset = np.polyfit(np.log(steps), mean, 1)
        axis.plot(steps, offset + slope * np.log(steps), ":", color=look.colour)
        last = max(last, float(steps[-1]))
        ends.append((float(steps[-1]), float(mean[-1]), look))
    axis.set_ylim(-0.5, 1.25)
    axis.set_xlim(0, last)
    axis.axhline(1, color="black", linewidth=0.6)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set_xlabel("steps (dotted: fit linear in log of the step)")
    axis.set_ylabel("share of the gain recovered")
    name_lines(axis, ends, HEIGHT - 0.8)


def _shares(none: Row, row: Row, trainable: Row) -> Floats:
    """Return the share at every validation, as far as all three runs have them."""
    losses = [_losses(one) for one in (none, row, trainable)]
    length = min(map(len, losses))
    return _share(*(loss[:length] for loss in losses))


def _share(none: Floats, own: Floats, trainable: Floats) -> Floats:
    return (none - own) / (none - trainable)


def _losses(row: Row) -> Floats:
    return np.array(row["stages"][-1]["curve"].get(LOSS, []), dtype=float)

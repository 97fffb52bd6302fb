"""How the laptop scale was chosen: what each criterion asks for, by setting."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memlab.report.collect import Row
from memlab.report.expected import Expected
from memlab.report.plotting import STYLE, save

# Model, metric, the criterion's bound, and whether the value must be above it.
CRITERIA = {
    "auto-\nencoder": ("autoencoder", "token_accuracy", 0.99, True),
    "train-\nable": ("trainable", "token_accuracy", 0.90, True),
    "same,\nfree": ("trainable", "free_running_token_accuracy", 0.80, True),
    "blank\ncopy": ("blank_copy", "token_accuracy", 0.80, True),
    "direct\ncopy": ("direct_copy", "token_accuracy", 0.90, False),
}
MODELS = {model for model, *_ in CRITERIA.values()}
MET, MISSED = "#CDE7DA", "#F6D5C3"


def draw(rows: list[Row], expected: Expected, path: Path) -> None:
    """Write the figure to `path` (.png), with .svg and .pdf beside it: a table per architecture."""
    settings = _settings(rows, expected)
    architectures = sorted({row["architecture"] for row in rows})
    with rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(3.6 + 3.4 * len(architectures), 2.0 + 0.24 * len(settings)), layout="constrained")
        axes = figure.subplots(1, len(architectures), squeeze=False)[0]
        for place, (axis, architecture) in enumerate(zip(axes, architectures, strict=True)):
            _table(axis, [row for row in rows if row["architecture"] == architecture], settings)
            axis.set_title(architecture, pad=10)
            if place:
                axis.set_yticklabels([])
        counts = [f"{_all_met(rows, name, settings)} for {name}s" for name in architectures]
        figure.suptitle(
            f"Of {len(settings)} settings, these meet every criterion: {' and '.join(counts)}\n"
            "token accuracy (%), means over tuning seeds; green: the criterion is met; minutes of one seed",
            fontsize=9,
        )
        save(figure, path)


def _settings(rows: list[Row], expected: Expected) -> dict[str, str]:
    """Return the settings whose autoencoder ran, in order, with their labels."""
    ran = {row["arm"] for row in rows}
    labels = {arm: about["label"].partition(", ")[2] for arm, about in expected["arms"].items() if arm in ran}
    return {arm.partition("__")[2]: label for arm, label in labels.items() if arm.startswith("autoencoder__")}


def _table(axis: Axes, rows: list[Row], settings: dict[str, str]) -> None:
    for line, setting in enumerate(settings):
        for column, criterion in enumerate(CRITERIA):
            value = _value(rows, setting, criterion)
            if value is None:
                continue
            axis.add_patch(_cell(column, line, MET if _met(value, criterion) else MISSED))
            axis.text(column, line, f"{100 * value:.1f}", ha="center", va="center", fontsize=7)
        minutes = _minutes([row for row in rows if row["arm"] in {f"{model}__{setting}" for model in MODELS}])
        if minutes:
            axis.text(len(CRITERIA), line, f"{minutes:.1f}", ha="center", va="center", fontsize=7)
    bounds = [f"{name}\n{'≥' if above else '≤'} {100 * bound:.0f}" for name, (*_, bound, above) in CRITERIA.items()]
    axis.set_xticks(range(len(CRITERIA) + 1), [*bounds, "minutes\n"], fontsize=7)
    axis.xaxis.tick_top()
    axis.set_yticks(range(len(settings)), list(settings.values()))
    axis.tick_params(length=0)
    axis.set_xlim(-0.5, len(CRITERIA) + 0.5)
    axis.set_ylim(len(settings) - 0.5, -0.5)
    for side in axis.spines.values():
        side.set_visible(False)


def _value(rows: list[Row], setting: str, criterion: str) -> float | None:
    """Return the mean over seeds that the criterion asks for; None where the model has not run."""
    model, metric, *_ = CRITERIA[criterion]
    own = [row[metric] for row in rows if row["arm"] == f"{model}__{setting}"]
    return float(np.mean(own)) if own else None


def _met(value: float, criterion: str) -> bool:
    *_, bound, above = CRITERIA[criterion]
    return value >= bound if above else value <= bound


def _all_met(rows: list[Row], architecture: str, settings: dict[str, str]) -> int:
    """Return how many settings meet every criterion."""
    own = [row for row in rows if row["architecture"] == architecture]
    values = [{criterion: _value(own, setting, criterion) for criterion in CRITERIA} for setting in settings]
    return sum(all(v is not None and _met(v, criterion) for criterion, v in found.items()) for found in values)


def _minutes(rows: list[Row]) -> float:
    """Return the training time per seed; the models of a setting share the autoencoder's stage."""
    stages = {stage["run"]: stage["seconds"] for row in rows for stage in row["stages"]}
    return sum(stages.values()) / 60 / max(1, len({row["seed"] for row in rows}))


def _cell(column: int, line: int, colour: str) -> Rectangle:
    return Rectangle((column - 0.47, line - 0.44), 0.94, 0.88, color=colour, linewidth=0)

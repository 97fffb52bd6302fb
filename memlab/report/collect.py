"""Turn run folders into rows: one row per finished point of an experiment."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from memlab.errors import UserError
from memlab.storage.files import read_json
from memlab.storage.run_folder import RunFolder

# A row is what a line of results.csv says, plus two keys that stay out of every table:
#   windows  {"correct": [...], "count": [...], "loss": [...]}, one entry per evaluation window (loss in nats, summed);
#            {table: the same} where the objective has several tables; those of other evaluations beside them, under
#            what stands in front of their metrics' names
#   stages   [{"run", "name", "of", "steps", "tokens", "seconds", "curve"}, ...], oldest first; of: encoder or decoder
# A decoder stage's curve is its validations, {"steps": [...], "tokens": [...], "seconds": [...], metric: [...], ...}, a
# metric being named as in the row (token_accuracy, clm/token_accuracy); the costs count from the stage's own start.
# Numbers of curves have six significant digits, as committed results keep them: both draw the same picture.
Row = dict[str, Any]
BULKY = ("windows", "stages")
COSTS = ("steps", "tokens", "seconds")
OWN_EVALUATION = {"file": "evaluation.json", "prefix": ""}


class Point(TypedDict):
    """One job of an experiment's sweep."""

    choices: dict[str, Any]  # architecture, arm, encoder, curriculum, seed
    folder: Path  # run folder of the last stage
    stages: Sequence[Path]  # run folders of the whole chain, oldest first, the last one included
    encoder_stages: int  # so many of them, the first ones, train the encoder
    # Files of the last folder: {"file", "prefix" of their metrics, "settings" they must have been made with}.
    evaluations: NotRequired[list[dict[str, Any]]]


def is_finished(point: Point) -> bool:
    """Whether every stage of the chain ran to its end, and the last one was evaluated as this point asks."""
    if not all((Path(folder) / "finished.json").is_file() for folder in (*point["stages"], point["folder"])):
        return False
    run = RunFolder.open(Path(point["folder"]))
    return all(run.evaluation_settings(asked["file"]) == asked["settings"] for asked in point.get("evaluations", []))


def label(choices: Mapping[str, Any]) -> str:
    """Name of a point for messages, such as `architecture=mixer arm=curriculum seed=0`."""
    return " ".join(f"{key}={choices[key]}" for key in ("architecture", "arm", "seed") if key in choices)


def collect(points: Iterable[Point]) -> list[Row]:
    """Read the run folders of `points`; those not finished yet are left out.

    Steps, tokens and seconds are sums over the chain, pretraining of the encoder included, because that is what the
    number cost; commit and hardware are those of the last stage.

    Raises:
        UserError: a finished folder lacks a file or holds one that cannot be read.
    """
    return [_row(point) for point in points if is_finished(point)]


def _row(point: Point) -> Row:
    run = RunFolder.open(Path(point["folder"]))
    provenance = _read(run.provenance)
    # What is evaluated is drawn: an autoencoder alone has its decoder in its encoder's stage.
    first = min(point["encoder_stages"], len(point["stages"]) - 1)
    stages = [
        _stage(Path(stage), "decoder" if place >= first else "encoder") for place, stage in enumerate(point["stages"])
    ]
    row: Row = dict(point["choices"])
    windows: dict[str, Any] = {}
    for asked in point.get("evaluations", [OWN_EVALUATION]):
        evaluation, prefix = _read(run.path / asked["file"]), asked["prefix"]
        metrics = _numbers(evaluation.get("metrics", {}), prefix)
        if twice := sorted(row.keys() & metrics.keys()):
            raise UserError(
                f"{run.path.name} has {twice[0]} from two evaluations, which no table tells apart: leave out"
                " objective@evaluation.objective= or the stage's own objective"
            )
        row.update(metrics)
        windows.update(_windows(evaluation.get("windows", {}), prefix))
    for key in COSTS:
        row[key] = sum(stage[key] for stage in stages)
    row["commit"] = provenance.get("commit")
    row["dirty"] = provenance.get("dirty")
    row["hardware"] = _one_line(provenance.get("hardware"))
    row["run"] = run.path.name
    row["windows"] = windows
    row["stages"] = stages
    return row


def _stage(folder: Path, of: str) -> dict[str, Any]:
    run = RunFolder.open(folder)
    provenance = _read(run.provenance)
    # A stage's name is its folder's, without the fingerprint: `autoencoder`, `blank_copy`, `copy`.
    name = folder.name.rpartition("-")[0]
    costs = {key: provenance.get(key) or 0 for key in COSTS}
    return {"run": folder.name, "name": name, "of": of, **costs, "curve": _curve(run) if of == "decoder" else {}}


def _curve(run: RunFolder) -> dict[str, list[float | None]]:
    """The validations of a stage in order of steps; of a step written twice the later line counts.

    A metric that a validation lacks, or that is not finite, is None there.
    """
    prefix = "val/"
    validations = {
        int(entry["step"]): entry for entry in run.read_metrics() if any(key.startswith(prefix) for key in entry)
    }
    entries = [validations[step] for step in sorted(validations)]
    names = dict.fromkeys(key for entry in entries for key in entry if key.startswith(prefix))
    columns = {"steps": "step", "tokens": "tokens", "seconds": "seconds"}
    columns |= {name.removeprefix(prefix): name for name in names}
    return {name: [_rounded(entry.get(key)) for entry in entries] for name, key in columns.items()}


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _numbers(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Numbers of a nested mapping, nested names joined by a slash: {"capacity": {"bits": 8}} -> capacity/bits."""
    flat: dict[str, float] = {}
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            flat.update(_numbers(value, f"{prefix}{key}/"))
        elif isinstance(value, int | float):
            flat[prefix + key] = value
    return flat


def _windows(windows: dict[str, Any], prefix: str) -> dict[str, Any]:
    if not prefix:
        return windows
    return (
        {prefix.removesuffix("/"): windows}
        if "count" in windows
        else {prefix + name: windows[name] for name in windows}
    )


def _one_line(hardware: Any) -> str:
    """Hardware as one CSV cell, whether provenance holds a string or a mapping."""
    if isinstance(hardware, Mapping):
        return "; ".join(f"{key} {value}" for key, value in hardware.items())
    return "" if hardware is None else str(hardware)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is missing or not JSON: delete {path.parent} and run that stage again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a JSON object: delete {path.parent} and run that stage again")
    return content

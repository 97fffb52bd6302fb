"""Turn run folders into rows: one row per finished point of an experiment.

Neither Hydra nor torch, numpy or scipy is imported here.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

from memlab.errors import UserError
from memlab.report.measured import ROUNDS, find_row
from memlab.storage.run_folder import RunFolder

# A row holds what a line of results.csv says, and four keys that stay out of it:
#   windows  {place: {"correct": [...], "count": [...], "loss": [...], "data": hash, "window": tokens per window}}, one
#            number per evaluation window (loss in nats, summed). A metric's place is what stands in front of its name:
#            "" for token_accuracy, "clm" for clm/token_accuracy.
#   places   {place: {"token_accuracy": [...], "cross_entropy": [...]}}, a number per place in the chunk, None where no
#            token is scored. Rows that older versions committed have none.
#   samples  the first SAMPLES rows of the last stage's samples.jsonl (memlab/storage/run_folder.py). Rows that older
#            versions committed have none.
#   stages   [{"run", "name", "of", "steps", "tokens", "seconds", "commit", "dirty", "hardware", "versions",
#            "peak_memory" in bytes, "curve"}], oldest first; of: encoder or decoder. Rows that older versions committed
#            lack commit ... peak_memory here.
# Rows of speeds have `rounds`, too (memlab/report/measured.py).
# A decoder stage's curve holds its validations, {"steps": [...], "tokens": [...], "seconds": [...], metric: [...]}; a
# metric has the row's name for it; steps, tokens and seconds count from the stage's own start. Numbers of curves have
# six significant digits, the precision of committed results, so that both draw the same picture.
Row = dict[str, Any]
BULKY = ("windows", "places", "samples", "stages", ROUNDS)
SAMPLES = 4  # of a row: enough to see what goes wrong, and a committed file stays small
COSTS = ("steps", "tokens", "seconds")


class Point(TypedDict):
    """One point of an experiment's sweep."""

    choices: dict[str, Any]  # architecture, arm, encoder, curriculum, seed
    folder: Path  # run folder of the last stage
    stages: Sequence[Path]  # run folders of the whole chain, oldest first, the last one included
    encoder_stages: int  # how many of them, the first ones, train the encoder
    # Files of the last folder: {"file", "prefix" of the metrics' names, "nested": whether the table's name stands in
    # them, too, "settings" that the file must have been made with}.
    evaluations: NotRequired[list[dict[str, Any]]]
    measured: NotRequired[str]  # the file in `folder` that holds the row of a point that measures speed


def is_finished(point: Point) -> bool:
    """Whether every stage of the chain is finished and the last one was evaluated as this point asks."""
    if "measured" in point:
        return find_row(point["folder"], point["measured"], point["choices"]) is not None
    try:
        *_, run = [RunFolder.open(Path(folder)) for folder in (*point["stages"], point["folder"])]
    except UserError:
        return False
    return all(_settings(run, asked["file"]) == asked["settings"] for asked in point.get("evaluations", []))


def label(choices: Mapping[str, Any]) -> str:
    """Return a point's name for messages, such as `architecture=mixer arm=curriculum seed=0`."""
    return " ".join(f"{key}={choices[key]}" for key in ("architecture", "arm", "seed") if key in choices)


def collect(points: Iterable[Point]) -> list[Row]:
    """Read the run folders of `points`; unfinished points are left out.

    Steps, tokens and seconds are sums over the chain, encoder pretraining included: what the number cost. A row is
    `dirty` if any of its stages was trained by uncommitted code.

    Raises:
        UserError: a finished folder lacks a file or holds one that cannot be read.
    """
    return [_row(point) for point in points if is_finished(point)]


class Evaluated(NamedTuple):
    """What a run's evaluation files hold, named as in a row."""

    metrics: dict[str, float]
    windows: dict[str, Any]
    places: dict[str, Any]


def evaluated(run: RunFolder, evaluations: Sequence[Mapping[str, Any]]) -> Evaluated:
    """Return what a run's evaluation files hold.

    evaluations: as in `Point`. A metric's name is the evaluation's prefix, the table's name if it is needed, the
    metric. The table's name is needed if the evaluation says so (`nested`), or if some evaluation by the same objective
    on the same text has several tables, this one among them.

    Raises:
        UserError: a file is missing or damaged, or two files have a metric of the same name.
    """
    contents = [(asked, _evaluation(run, asked["file"])) for asked in evaluations]
    crowded = {
        (asked["prefix"], _objective(content), table)
        for asked, content in contents
        for table in content["metrics"]
        if asked.get("nested") or len(content["metrics"]) > 1
    }
    metrics: dict[str, float] = {}
    windows: dict[str, Any] = {}
    places: dict[str, Any] = {}
    for asked, content in contents:
        for table, values in content["metrics"].items():
            needed = (asked["prefix"], _objective(content), table) in crowded
            prefix = asked["prefix"] + (f"{table}/" if needed else "")
            if table in content["windows"]:
                made_of = {key: content["settings"].get(key) for key in ("data", "window")}
                windows[prefix.removesuffix("/")] = {**content["windows"][table], **made_of}
            if table in content["places"]:
                places[prefix.removesuffix("/")] = _by_place(content["places"][table])
            found = {prefix + name: value for name, value in values.items() if isinstance(value, int | float)}
            if twice := sorted(metrics.keys() & found.keys()):
                raise UserError(
                    f"{run.path.name}: two evaluations have {twice[0]}, and no table can tell them apart: leave out"
                    " objective@evaluation.objective= or the stage's own objective"
                )
            metrics |= found
        for place in content["windows"].keys() - content["metrics"].keys():  # a measure's own, such as alone
            made_of = {key: content["settings"].get(key) for key in ("data", "window")}
            windows[asked["prefix"] + place] = {**content["windows"][place], **made_of}
    return Evaluated(metrics, windows, places)


def _row(point: Point) -> Row:
    if "measured" in point:
        row = find_row(point["folder"], point["measured"], point["choices"])
        assert row is not None, point
        return row
    run = RunFolder.open(Path(point["folder"]))
    # The curve drawn is that of the model evaluated: an autoencoder alone has its decoder in its encoder's stage.
    first = min(point["encoder_stages"], len(point["stages"]) - 1)
    stages = [
        _stage(Path(stage), "decoder" if place >= first else "encoder") for place, stage in enumerate(point["stages"])
    ]
    metrics, windows, places = evaluated(run, point.get("evaluations", []))
    return {
        **point["choices"],
        **metrics,
        **{key: sum(stage[key] for stage in stages) for key in COSTS},
        "commit": _joined(stage["commit"] for stage in stages),
        "dirty": any(stage["dirty"] for stage in stages),
        "hardware": _joined(stage["hardware"] for stage in stages),
        "run": run.path.name,
        "windows": windows,
        "places": places,
        "samples": _read(run.samples, lambda: {"rows": run.read_samples()})["rows"][:SAMPLES],
        "stages": stages,
    }


def _stage(folder: Path, of: str) -> dict[str, Any]:
    run = RunFolder.open(folder)
    provenance = _read(run.provenance, run.read_provenance)
    return {
        "run": folder.name,
        # A stage's name is its folder's, without the fingerprint: `autoencoder`, `blank_copy`, `copy`.
        "name": folder.name.rpartition("-")[0],
        "of": of,
        **{key: provenance.get(key) or 0 for key in COSTS},
        "commit": provenance.get("commit"),
        "dirty": provenance.get("dirty"),
        "hardware": _one_line(provenance.get("hardware")),
        "versions": _one_line(provenance.get("versions")),
        "peak_memory": provenance.get("peak_memory"),
        "curve": _curve(run) if of == "decoder" else {},
    }


def _curve(run: RunFolder) -> dict[str, list[float | None]]:
    """Return the validations of a stage by step; a metric that a validation lacks, or that is not finite, is None."""
    prefix = "val/"
    rows = _read(run.metrics, lambda: {"rows": run.read_metrics()})["rows"]
    validations = {int(row["step"]): row for row in rows if any(key.startswith(prefix) for key in row)}
    entries = [validations[step] for step in sorted(validations)]
    names = dict.fromkeys(key for entry in entries for key in entry if key.startswith(prefix))
    columns = {"steps": "step", "tokens": "tokens", "seconds": "seconds"}
    columns |= {name.removeprefix(prefix): name for name in names}
    return {name: [_rounded(entry.get(key)) for entry in entries] for name, key in columns.items()}


def _by_place(sums: Mapping[str, Sequence[float]]) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for metric, key in (("token_accuracy", "correct"), ("cross_entropy", "loss")):
        pairs = zip(sums[key], sums["count"], strict=True)
        found[metric] = [_rounded(part / count) if count else None for part, count in pairs]
    return found


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _evaluation(run: RunFolder, file: str) -> dict[str, Any]:
    path = run.path / file
    content = {"settings": {}, "windows": {}, "places": {}, **_read(path, lambda: run.read_evaluation(file))}
    tables = content.get("metrics")
    parts = [
        tables,
        *(content[key] for key in ("settings", "windows", "places")),
        *(tables.values() if isinstance(tables, dict) else ()),
    ]
    if not all(isinstance(part, dict) for part in parts):
        raise UserError(_damaged(path, "has no metrics by table"))
    return content


def _settings(run: RunFolder, file: str) -> Any:
    """Return the settings that an evaluation was made with; None if the file is missing or damaged."""
    try:
        return run.read_evaluation(file)["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _objective(content: Mapping[str, Any]) -> str:
    return json.dumps(content["settings"].get("objective"), sort_keys=True)


def _one_line(values: Any) -> str:
    """Return hardware or versions as one cell of a table."""
    if isinstance(values, Mapping):
        return "; ".join(f"{key} {value}" for key, value in values.items())
    return "" if values is None else str(values)


def _joined(values: Iterable[Any]) -> str | None:
    """Return the distinct values, in order, as one cell; None if there is none."""
    return " | ".join(dict.fromkeys(str(value) for value in values if value)) or None


def _read(path: Path, reader: Callable[[], Any]) -> dict[str, Any]:
    """Return what `reader` reads from `path`. Raises UserError if that is no JSON object."""
    try:
        content = reader()
    except FileNotFoundError:
        raise UserError(_damaged(path, "is missing")) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(_damaged(path, f"cannot be read ({error or type(error).__name__})")) from None
    if not isinstance(content, dict):
        raise UserError(_damaged(path, "does not hold a JSON object"))
    return content


def _damaged(path: Path, why: str) -> str:
    return f"{path} {why}: delete {path.parent} and run that stage again"

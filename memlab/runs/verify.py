"""Whether run folders are whole: the files that a report or a later stage reads are there and fit together."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from memlab.config.stage import Stage
from memlab.data.codec import CODEC_FILES
from memlab.runs.state import DAMAGE, FAILED, STALE, STOPPED, State, config_of
from memlab.storage.files import is_whole, read_json
from memlab.storage.run_folder import RunFolder


def problems(state: State) -> Iterator[str]:
    """Yield what is wrong with a run folder that the next command does not mend. Running ones are left alone."""
    folder = state.folder
    if folder.finished:
        yield from _finished(folder)
    elif state.kind in (STOPPED, FAILED, STALE):
        files = folder.checkpoint_files()
        if files and not any(is_whole(path) for path in files):
            yield "no checkpoint is whole: the stage starts anew"


def _finished(folder: RunFolder) -> Iterator[str]:
    config = config_of(folder)
    if not isinstance(config.get("stage"), dict):
        yield "config.yaml cannot be read"
    elif not _is_named_rightly(folder, config["stage"]):
        yield "config.yaml is not of the stage that the folder is named after (or of an older version of memlab)"
    for name in CODEC_FILES:  # with them a run folder can encode text by itself
        if not (folder.path / name).is_file():
            yield f"{name} is missing"
    try:
        digest = read_json(folder.path / "finished.json").get("sha256")
        if digest is not None and digest != folder.weights_digest():
            yield "the weights are not those that were written (SHA-256)"
    except DAMAGE as error:
        yield f"weights or finished.json cannot be read ({error})"
    yield from _evaluations(folder)
    try:
        steps = [row["step"] for row in folder.read_metrics()]
        if not steps or steps != sorted(steps):
            yield "metrics.jsonl has no rows, or they are out of order"
    except DAMAGE as error:
        yield f"metrics.jsonl cannot be read ({error})"
    try:
        folder.read_provenance()
    except DAMAGE as error:
        yield f"provenance.json cannot be read ({error})"


def _is_named_rightly(folder: RunFolder, values: Mapping[str, Any]) -> bool:
    if {*values} != {field.name for field in dataclasses.fields(Stage)}:
        return False
    return Stage(**values).fingerprint == folder.fingerprint


def _evaluations(folder: RunFolder) -> Iterator[str]:
    """Yield the evaluations that are damaged or do not add up; a missing one is made by the next command."""
    for file in folder.evaluation_files():
        try:
            content = folder.read_evaluation(file)
            if not all(_adds_up(content["metrics"][table], sums) for table, sums in content["windows"].items()):
                yield f"{file}: its windows do not add up to its metrics"
        except (*DAMAGE, ZeroDivisionError) as error:
            yield f"{file} cannot be read ({error!r})"


def _adds_up(metrics: Mapping[str, float], sums: Mapping[str, list[float]]) -> bool:
    """Whether a table's metrics are the ratios of its sums over windows."""
    ratios = {"token_accuracy": "correct", "cross_entropy": "loss"}
    return all(
        math.isclose(math.fsum(sums[key]) / sum(sums["count"]), metrics[name], rel_tol=1e-6, abs_tol=1e-9)
        for name, key in ratios.items()
        if isinstance(metrics.get(name), int | float) and math.isfinite(metrics[name])
    )

"""Whether run folders are whole: what a report or a later stage reads from them is there and fits together."""

import dataclasses
import json
import math
from collections.abc import Iterator

from memlab.config.fingerprint import fingerprint
from memlab.config.plan import Stage
from memlab.runs.state import FAILED, STALE, STOPPED, State, read_config
from memlab.storage.files import is_whole, read_json
from memlab.storage.run_folder import RunFolder


def problems(state: State) -> Iterator[str]:
    """What is wrong with a run folder, and cannot mend itself. Running ones are left alone."""
    folder = state.folder
    if folder.finished:
        yield from _finished(folder)
    elif state.kind in (STOPPED, FAILED, STALE):
        files = folder.checkpoint_files()
        broken = [path for path in files if not is_whole(path)]
        if files and len(broken) == len(files):
            yield "no checkpoint is whole: the stage starts anew"


def _finished(folder: RunFolder) -> Iterator[str]:
    config = read_config(folder)
    if "stage" not in config:
        yield "config.yaml cannot be read"
    elif not _is_named_rightly(folder, config["stage"]):
        yield "config.yaml is not of the stage that the folder is named after (or of an older version of memlab)"
    try:
        digest = read_json(folder.path / "finished.json").get("sha256")
        if digest is not None and digest != folder.weights_digest():
            yield "the weights are not those that were written (SHA-256)"
    except (OSError, json.JSONDecodeError, AttributeError) as error:
        yield f"weights or finished.json cannot be read ({error})"
    yield from _evaluations(folder)
    try:
        steps = [row["step"] for row in folder.read_metrics()]
        if not steps or steps != sorted(steps):
            yield "metrics.jsonl has no rows, or they are out of order"
        folder.read_provenance()
    except (OSError, json.JSONDecodeError, KeyError) as error:
        yield f"metrics.jsonl or provenance.json cannot be read ({error})"


def _is_named_rightly(folder: RunFolder, values: dict[str, object]) -> bool:
    if {*values} != {field.name for field in dataclasses.fields(Stage)}:
        return False
    return fingerprint(Stage(**values)) == folder.fingerprint  # type: ignore[arg-type]


def _evaluations(folder: RunFolder) -> Iterator[str]:
    """Metrics are sums over windows, which the file has, too."""
    if not (folder.path / "evaluation.json").is_file():
        yield "evaluation.json is missing"
    for path in sorted(folder.path.glob("evaluation*.json")):
        try:
            content = read_json(path)
            tables = {"": content["metrics"]} if "token_accuracy" in content["metrics"] else content["metrics"]
            for name, metrics in tables.items():
                sums = content["windows"][name] if name else content["windows"]
                total = sum(sums["correct"]) / sum(sums["count"])
                if not math.isclose(total, metrics["token_accuracy"], rel_tol=1e-6, abs_tol=1e-9):
                    yield f"{path.name}: its windows do not add up to its metrics"
        except (OSError, KeyError, TypeError, ZeroDivisionError, json.JSONDecodeError) as error:
            yield f"{path.name} cannot be read ({error!r})"

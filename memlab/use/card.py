"""The model card of an exported model: what it is, how it was trained, how well it does, how to load it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memlab.config import paths
from memlab.config.instantiate import TARGET
from memlab.config.stage import Config, Stage
from memlab.errors import UserError
from memlab.report.collect import evaluated
from memlab.report.side import Unmeasurable
from memlab.report.uncertainty import estimate
from memlab.storage.files import read_json
from memlab.storage.run_folder import RunFolder
from memlab.use.folder import CARD, is_run

PERCENT = ("token_accuracy", "free_running_token_accuracy")
METRICS = {
    "token_accuracy": "token accuracy (%)",
    "free_running_token_accuracy": "token accuracy, reading its own output (%)",
    "cross_entropy": "cross entropy (nats per token)",
    "bits_per_byte": "bits per byte",
    "entropy_ratio": "entropy ratio",
}


def card_of(folder: Path | None, stage: Stage, fingerprint: str) -> str:
    """Return the card that came with an exported folder, or else a new one: of the run in `folder`, if it is one."""
    if folder is None or is_run(folder):
        return model_card(stage, fingerprint, folder)
    try:
        return (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return model_card(stage, fingerprint, None)


def model_card(stage: Stage, fingerprint: str, run: Path | None) -> str:
    """Return the text of README.md. run: the run folder that the model was trained in; None if it is not at hand."""
    name = f"{stage.name}-{fingerprint}"
    about = [
        "---\nlibrary_name: memlab\ntags: [memory-model]\n---\n",
        f"# {name}\n",
        f"{_kind(stage.model)}, trained by [memlab](https://arxiv.org/abs/2602.13466) on the objective"
        f" `{_name(stage.objective)}`.\n",
        '```python\nimport memlab\n\nmodel = memlab.load("OWNER/NAME")  # or the folder that this file lies in\n```\n',
        "## Training\n",
        *_lines(_training(stage)),
    ]
    if run is not None:
        about += [*_lines(_origin(run)), "", *_metrics(run, stage.training["seed"]), *_claims(run)]
    return "\n".join(about).rstrip("\n") + "\n"


def _kind(model: Config) -> str:
    """Return a sentence's beginning, such as `A MemoryModel of 4 chunks of 8 tokens, vocabulary 512`."""
    chunks = f" of {model['chunks']} chunks" if "chunks" in model else " of chunks"
    return f"A {_name(model)}{chunks} of {model.get('length')} tokens, vocabulary {model.get('vocab'):,}"


def _name(spec: Config) -> str:
    return str(spec.get(TARGET)).rpartition(".")[2]


def _training(stage: Stage) -> dict[str, str]:
    training = stage.training
    optimizer, schedule = training["optimizer"], training["schedule"]
    return {
        "steps": f"{training['steps']:,} of {training['batch_size'] * training['accumulate']:,} windows",
        "optimizer": f"{_name(optimizer)}, learning rate {optimizer.get('lr')}",
        "schedule": _name(schedule) if schedule else "none",
        "precision": str(training["precision"]),
        "seed": str(training["seed"]),
        "text": f"data and tokenizer {stage.data['hash']}",
        "start": f"from {stage.start['fingerprint']}" if stage.start else "from random weights",
        "frozen encoder": "yes" if stage.freeze_encoder else "no",
    }


def _origin(run: Path) -> dict[str, str]:
    """Return what the run folder says of its text, its code and its machine; what it does not say is left out."""
    folder = RunFolder.open(run)
    try:
        provenance = folder.read_provenance()
    except (OSError, ValueError):
        return {}
    text = folder.read_config().get("config", {}).get("data", {})
    changed = " (changed)" if provenance.get("dirty") else ""
    found = {
        "corpus": text.get("name"),
        "commit": provenance.get("commit") and f"{provenance['commit']}{changed}",
        "machine": ", ".join(f"{key} {value}" for key, value in provenance.get("hardware", {}).items()),
        "versions": ", ".join(f"{key} {value}" for key, value in provenance.get("versions", {}).items()),
        "seconds": provenance.get("seconds"),
    }
    return {name: str(value) for name, value in found.items() if value}


def _metrics(run: Path, seed: int) -> Iterator[str]:
    """Yield the table of held-out metrics, with intervals over evaluation windows where there are any.

    Files by other objectives and on other texts, whose names end with a hash, are left out.
    """
    files = sorted(path.name for path in run.glob("evaluation-*.json") if path.name.count("-") == 1)
    try:
        found = evaluated(RunFolder.open(run), [{"file": file, "prefix": "", "nested": True} for file in files])
    except UserError:
        return
    row = {**found.metrics, "windows": found.windows, "seed": seed}
    lines = []
    for metric in found.metrics:
        objective, _, name = metric.rpartition("/")
        if name in METRICS:
            unit = 100 if name in PERCENT else 1
            try:
                known = estimate([row], metric)
                interval = f"{known.low * unit:.3f} to {known.high * unit:.3f}"
            except Unmeasurable:
                interval = "-"
            lines.append(f"| {objective} | {METRICS[name]} | {found.metrics[metric] * unit:.3f} | {interval} |")
    if lines:
        yield "## Held-out text\n"
        yield "| objective | metric | value | 95 % interval over windows |\n|---|---|---|---|"
        yield from lines
        yield ""


def _claims(run: Path) -> Iterator[str]:
    """Yield the verdicts of every report that has this very run as an arm: the claims of that arm."""
    reports = [*run.parent.parent.glob("reports/*/*/report.json"), *paths.experiments().glob("*/results/*.json")]
    lines: dict[str, str] = {}
    for path in sorted(reports):
        for claim in _of_run(path, run.name):
            lines.setdefault(f"{claim['id']} {path.parent.parent.name}", f"- {claim['text']} **{claim['verdict']}**")
    if lines:
        yield "## Claims that this model was measured for\n"
        yield from dict.fromkeys(lines.values())


def _of_run(path: Path, run: str) -> list[dict[str, Any]]:
    try:
        report = read_json(path)
        mine = {(row["arm"], row["architecture"]) for row in report["rows"] if row["run"] == run}
        return [
            claim
            for claim in report["claims"]
            if claim["verdict"] != "not measured"
            for side in ("left", "right")
            for arm, architecture in mine
            if claim["measured"][side].get("arm") == arm and claim["id"].partition("[")[2] in ("", f"{architecture}]")
        ]
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError):
        return []  # a report of another version


def _lines(values: dict[str, str]) -> list[str]:
    return [f"- {name}: {value}" for name, value in values.items()]

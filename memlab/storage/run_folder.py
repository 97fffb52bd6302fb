"""The run folder of a stage: the one place that knows its files.

runs/stages/<stage>-<fingerprint>/
    config.yaml         the stage, the composed config that asked for it, and the arms that did
    tokenizer.json, token_bytes.npy, special_tokens.json    what turns text into the stage's tokens and back
    .lock               who works on it, while somebody does
    failed.json         {"error"} that ended the last attempt, if one did
    metrics.jsonl       a row per logged step (metrics.csv: the same, written at the end)
    reconstructions.jsonl   {"step", "text", "regenerated" with wrong tokens marked, "wrong"}, of three moments
    checkpoints/        the last two, each with its own checksum
    model.safetensors   final weights
    evaluation-<measure>.json           {"settings", "metrics", "windows", "places"}, by its own objective and text
    evaluation-<measure>-<hash>.json    the same by another objective or on another text
    samples.jsonl       {"text", "regenerated", "parts"} (memlab/measures/samples.py); older runs have no parts
    wandb.json          {"id"} of the stage's run in runs/wandb (memlab/storage/wandb_folder.py)
    provenance.json     commit, versions, hardware, seed, seconds, steps, tokens
    finished.json       {"fingerprint", "sha256" of the weights}, written last: without it the stage is not finished
"""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from memlab.errors import UserError
from memlab.progress import console
from memlab.storage.files import read_json, write_atomic, write_json

_CHECKPOINT = re.compile(r"step-(\d+)\.ckpt")


class RunFolder:
    """The files of one stage under `root` (a runs folder); nothing is created before something is written.

    path: where the folder lies, if it was copied to another place or renamed.
    """

    def __init__(self, root: Path, stage: str, fingerprint: str, path: Path | None = None) -> None:
        self.path = Path(root) / "stages" / f"{stage}-{fingerprint}" if path is None else path
        self.fingerprint = fingerprint
        self.checkpoints = self.path / "checkpoints"
        self.metrics = self.path / "metrics.jsonl"
        self.weights = self.path / "model.safetensors"
        self.reconstructions = self.path / "reconstructions.jsonl"
        self.samples = self.path / "samples.jsonl"
        self.provenance = self.path / "provenance.json"
        self.lock = self.path / ".lock"

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run folder by its path. Raises UserError if it holds no finished stage."""
        path = Path(path)
        if not (path / "finished.json").is_file():
            raise UserError(
                f"{path} is not the folder of a finished run: give one of runs/stages/* with a finished.json"
            )
        stage, _, fingerprint = path.name.rpartition("-")
        return cls(path.parent.parent, stage, fingerprint, path)

    @property
    def finished(self) -> bool:
        return (self.path / "finished.json").is_file()

    def finish(self) -> None:
        write_json(self.path / "finished.json", {"fingerprint": self.fingerprint, "sha256": self.weights_digest()})

    def weights_digest(self) -> str:
        """Return the SHA-256 of the weights' file."""
        with self.weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def failure(self) -> str | None:
        """What ended the last attempt, if an error did."""
        path = self.path / "failed.json"
        return str(read_json(path)["error"]) if path.is_file() else None

    def note_failure(self, error: str | None) -> None:
        """None: a new attempt begins."""
        if error is None:
            (self.path / "failed.json").unlink(missing_ok=True)
        else:
            write_json(self.path / "failed.json", {"error": error})

    def read_finished(self) -> dict[str, Any]:
        return read_json(self.path / "finished.json")

    def write_config(self, stage: dict[str, Any], config: dict[str, Any], asked_by: Iterable[str] = ()) -> None:
        text = yaml.safe_dump({"stage": stage, "config": config, "asked_by": list(asked_by)}, sort_keys=False)
        write_atomic(self.path / "config.yaml", text.encode())

    def read_config(self) -> dict[str, Any]:
        """Return {"stage", "config", "asked_by"}. Raises OSError, and yaml.YAMLError for a damaged file."""
        text = (self.path / "config.yaml").read_text(encoding="utf-8")
        # The C loader is the faster one, which a folder of many runs needs.
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    def read_stage(self) -> dict[str, Any]:
        """Return the stage as it was chosen, as plain values. Raises as read_config does."""
        return self.read_config()["stage"]

    def checkpoint_files(self) -> list[Path]:
        """Return the checkpoints, newest first. Other files in the folder are left alone."""
        if not self.checkpoints.is_dir():
            return []
        return sorted((p for p in self.checkpoints.iterdir() if _CHECKPOINT.fullmatch(p.name)), reverse=True)

    def step_of(self, checkpoint: Path) -> int:
        """Return the step at which a checkpoint was saved."""
        name = _CHECKPOINT.fullmatch(checkpoint.name)
        assert name is not None, checkpoint
        return int(name[1])

    def warn_of_strangers(self) -> None:
        """Say which files in the checkpoints' folder are no checkpoints, and so are not read."""
        if not self.checkpoints.is_dir():
            return
        for path in sorted(self.checkpoints.iterdir()):
            if not _CHECKPOINT.fullmatch(path.name) and not path.name.startswith("."):
                console.print(f"warning: {os.path.relpath(path)} is no checkpoint of memlab's: not read", markup=False)

    def remove_checkpoints(self) -> None:
        for path in self.checkpoint_files():
            path.unlink(missing_ok=True)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Rows by step. If two processes wrote the same row (memlab/storage/lock.py), the first one counts."""
        if not self.metrics.is_file():
            return []
        rows: dict[Any, dict[str, Any]] = {}
        for row in _rows(self.metrics):
            rows.setdefault((row["step"], *row), row)
        return sorted(rows.values(), key=lambda row: row["step"])

    def truncate_metrics(self, step: int) -> None:
        """Drop all rows after `step`, which a resumed run writes again, and a line that a kill has cut off."""
        for path, rows in ((self.metrics, self.read_metrics()), (self.reconstructions, self.read_reconstructions())):
            if path.is_file():
                kept = [row for row in rows if row["step"] <= step]
                write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept).encode())

    def append_reconstructions(self, rows: Iterable[dict[str, Any]]) -> None:
        with self.reconstructions.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def read_reconstructions(self) -> list[dict[str, Any]]:
        """Return the rows by step; none where the stage has no reconstructions."""
        return _rows(self.reconstructions) if self.reconstructions.is_file() else []

    def append_metrics(self, row: dict[str, Any]) -> None:
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def write_metrics_csv(self) -> None:
        rows = self.read_metrics()
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(self.path / "metrics.csv", text.getvalue().encode())

    def write_samples(self, samples: Iterable[dict[str, Any]]) -> None:
        write_atomic(self.samples, "".join(json.dumps(s, ensure_ascii=False) + "\n" for s in samples).encode())

    def read_samples(self) -> list[dict[str, Any]]:
        """Return the rows of samples.jsonl; none where the stage has no samples."""
        if not self.samples.is_file():
            return []
        return [json.loads(line) for line in self.samples.read_text(encoding="utf-8").split("\n") if line]

    def evaluation_files(self) -> list[str]:
        """Return the names of all evaluation files, those of older versions included."""
        return sorted(path.name for path in self.path.glob("evaluation*.json"))

    def read_evaluation(self, file: str) -> dict[str, Any]:
        return read_json(self.path / file)

    def evaluation_settings(self, file: str) -> dict[str, Any] | None:
        """What an evaluation was made with; None if it is not there or cannot be read."""
        try:
            return self.read_evaluation(file)["settings"]
        except (OSError, KeyError, TypeError, json.JSONDecodeError):
            return None

    def write_evaluation(self, file: str, settings: dict[str, Any], result: dict[str, Any]) -> None:
        write_json(self.path / file, {"settings": settings, **result})

    def read_provenance(self) -> dict[str, Any]:
        return read_json(self.provenance)

    def relative(self) -> str:
        return os.path.relpath(self.path)


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file with an object of JSON on each; a kill may have cut off the last one."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.endswith("}")]

"""What a stage is, and its fingerprint: a hash of everything that was chosen and can change the stage's weights.

Loggers, folders, validation, threads and workers are not in a `Stage`, so they cannot change a fingerprint. Code is
represented by WEIGHTS_VERSION: raise it when a change of code changes trained weights (the golden runs of
tests/training tell when). Old runs are then left alone, and everything trains again.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from memlab.errors import UserError
from memlab.storage.run_folder import RunFolder

WEIGHTS_VERSION = 3

Config = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """Everything that shapes a stage's weights, as plain values. `name` names the run folder and is not hashed."""

    name: str  # the same for stages that can be equal, whichever option asks for them
    model: Config  # what memlab.config.instantiate.build makes the model from
    objective: Config
    data: Config  # {"hash", "vocab", "blank", "delimiter"}: the prepared tokens
    training: Config  # steps, batch size, optimizer, schedule, precision, seed
    start: Config | None  # {"fingerprint", "part"}: whose weights the stage starts from; part: all, encoder or decoder
    freeze_encoder: bool | str  # "blocks": all but the token embedding, which is drawn anew and trained
    place: int  # number of stages before this one, back to random weights

    @property
    def fingerprint(self) -> str:
        values = asdict(self)
        del values["name"]
        return digest({"weights_version": WEIGHTS_VERSION, **values})

    @property
    def layout(self) -> Config:
        """Chunks of a sequence and tokens of a chunk."""
        return {"chunks": self.model.get("chunks", 1), "length": self.model["length"]}

    @classmethod
    def read(cls, folder: RunFolder) -> "Stage":
        """Read a run folder's stage. Raises UserError if config.yaml is damaged or of another version of memlab."""
        try:
            values = folder.read_stage()
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            raise UserError(f"{folder.path}: config.yaml cannot be read; train that stage again") from None
        if not isinstance(values, dict) or {*values} != {field.name for field in fields(cls)}:
            raise UserError(f"{folder.path} was written by another version of memlab: train that stage again")
        return cls(**values)


@dataclass(frozen=True)
class Evaluation:
    """How a finished stage is measured: by which measure, on which objective's tables and which text."""

    name: str  # of the measure
    settings: Config  # {"measure", "objective", "data": hash of the text, "window": layout}
    data: Config  # the group `data` of the text
    own_objective: bool
    own_text: bool

    @property
    def file(self) -> str:
        """Return the file's name in the run folder."""
        more = "" if self.own_objective and self.own_text else f"-{digest(self.settings)}"
        return f"evaluation-{self.name}{more}.json"

    @property
    def prefix(self) -> str:
        """Return what stands before the metrics' names in reports: another text's name."""
        return "" if self.own_text else f"{self.data['name']}/"


@dataclass(frozen=True)
class Job:
    """A stage to be finished, with what does not shape its weights. `parent`: the folder its weights start from."""

    stage: Stage
    folder: RunFolder
    parent: Path | None
    config: Config  # the whole composed config
    evaluations: tuple[Evaluation, ...]  # the stage's own come first
    asked_by: tuple[str, ...] = ()  # arms of the command that need the stage

    @property
    def settings(self) -> Config:
        """Return the group `trainer`: cadences, evaluation, hardware."""
        return dict(self.config["trainer"])

    @property
    def missing(self) -> list[Evaluation]:
        """Return the evaluations that are not there yet, or were made with other settings."""
        return [e for e in self.evaluations if self.folder.evaluation_settings(e.file) != e.settings]

    @property
    def done(self) -> bool:
        """Whether the stage is trained and measured as asked."""
        return self.folder.finished and not self.missing


@dataclass(frozen=True)
class Chain:
    """A point of a sweep: its stages in order, the encoder's first."""

    jobs: tuple[Job, ...]
    choices: Config  # what tells the points of a sweep apart: architecture, arm, encoder, curriculum, seed
    encoder_stages: int  # so many of the jobs, the first ones, train the encoder

    @property
    def label(self) -> str:
        """Return the point's name in messages."""
        return " ".join(f"{key}={self.choices[key]}" for key in ("architecture", "arm", "seed"))

    def point(self) -> Any:
        """Return the point as reports take it (memlab/report/collect.py)."""
        folders = [job.folder.path for job in self.jobs]
        return {
            "choices": self.choices,
            "folder": folders[-1],
            "stages": folders,
            "encoder_stages": self.encoder_stages,
            "evaluations": [
                {"file": e.file, "prefix": e.prefix, "nested": not e.own_objective, "settings": e.settings}
                for e in self.jobs[-1].evaluations
            ],
        }


def digest(value: Any) -> str:
    """Return 12 hexadecimal digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]

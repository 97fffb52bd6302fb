"""Stages and reports as runs of Weights & Biases."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from memlab.config.instantiate import PARTIAL, TARGET
from memlab.config.stage import Config, Job
from memlab.storage.provenance import peak_memory
from memlab.storage.run_folder import RunFolder
from memlab.storage.wandb_folder import AXES, STEP, id_of, kept_id, remove_offline_runs
from memlab.training.loggers import RunLogger

LONGEST = {"name": 128, "tag": 64}  # characters that wandb takes
NAMES = {**AXES, "lr": "train/learning_rate", "tokens_per_second": "speed/tokens_per_second"}
SECTIONS = ("val/*", "train/*", "speed/*", "memory/*", "encoder/*")
CHOICES = ("architecture", "encoder", "curriculum", "scale", "data")


class WandbRuns(RunLogger):
    """A run per stage and per report, all in one folder, runs/wandb. Every metric is drawn against the training step.

    A resumed stage keeps its run's id. Its rows are logged anew from metrics.jsonl: a kill loses none, and none is
    there twice. Row number n of metrics.jsonl is wandb's step n, so an online run refuses what it has.
    mode: offline or online; project, entity: as wandb takes them.
    """

    def __init__(
        self, *, mode: Literal["offline", "online", "disabled"], project: str, entity: str | None = None
    ) -> None:
        self.mode: Any = mode
        self.project = project
        self.entity = entity
        self._run: Any = None
        self._job: Job | None = None
        self._count = 0  # rows so far
        self._texts: list[dict[str, Any]] = []  # reconstructions so far
        self._pending: dict[str, Any] = {}  # goes with the next row
        self._share_per_speed = 0.0  # share of the machine's peak, per token per second

    def begin(self, job: Job, summary: dict[str, Any]) -> None:
        self._job, self._count, self._texts, self._pending = job, 0, [], {}
        remove_offline_runs(job.folder.path, id_of(job.folder.path))  # where older versions kept them
        self._open(
            job.folder.path,
            Path(job.config["runs_dir"]),
            id_from=" ".join((*_arms(job)[:1], *_labels(job))),
            name=run_name(job),
            group=job.config["experiment"] or "single",
            job_type=job.stage.name,
            tags=[job.config["architecture"]["name"], job.config["scale"]["name"], *_arms(job)],
            config=chosen(job),
        )
        for section in SECTIONS:
            self._run.define_metric(section, step_metric=STEP)
        self._run.summary.update(summary)
        self._share_per_speed = share_per_speed(job)
        if job.parent is not None:
            self._use(RunFolder.open(job.parent))
        texts = job.folder.read_reconstructions()
        for row in job.folder.read_metrics():
            due = [text for text in texts if text["step"] <= row["step"]]
            texts = texts[len(due) :]
            if due:
                self.log_reconstructions(due)
            self._log(row, {})

    def log(self, row: dict[str, Any]) -> None:
        speed = "tokens_per_second" in row
        self._log(row, {"memory/peak_gib": round(peak_memory() / 2**30, 3)} if speed else {})

    def log_reconstructions(self, rows: list[dict[str, Any]]) -> None:
        import wandb

        self._texts += rows
        cells = [[row["step"], row["text"], row["regenerated"], row["wrong"]] for row in self._texts]
        self._pending["val/reconstructions"] = wandb.Table(["step", "text", "regenerated", "wrong"], cells)

    def log_evaluation(self, metrics: dict[str, Any], samples: list[dict[str, str]]) -> None:
        if self._run is None or self._job is None:
            return  # the stage was measured again, without training
        self._run.summary.update({f"evaluation/{name}": value for name, value in metrics.items()})
        if self._pending:
            self._commit({STEP: self._job.stage.training["steps"]})
        self._run.log_artifact(weights_of(self._job.folder))

    def log_report(self, folder: Path, runs_dir: Path, content: Mapping[str, Any]) -> None:
        import wandb

        experiment = content["experiment"]
        self._open(
            folder,
            runs_dir,
            id_from=f"report {experiment}",
            name=f"{experiment} / report, {folder.name}",
            group=experiment,
            job_type="report",
            tags=[content["scale"], *content["architectures"]],
            config={key: content[key] for key in ("experiment", "scale", "command")},
        )
        self._run.summary.update(content["numbers"])
        tables = {
            table: wandb.Table(lines[0], lines[1:], allow_mixed_types=True)
            for table, lines in content["tables"].items()
        }
        pictures = {f"figures/{path.stem}": wandb.Image(str(path)) for path in content["pictures"]}
        self._run.log({**tables, **pictures})
        self.close()

    def close(self) -> None:
        # A run left open would take in the rows of the next stage of this process.
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _open(self, folder: Path, runs_dir: Path, id_from: str, *, name: str, tags: list[str], **options: Any) -> None:
        import wandb

        run_id = kept_id(folder, id_from)
        if self.mode == "offline":
            remove_offline_runs(runs_dir, run_id)  # all of it is logged again
        runs_dir.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=runs_dir,
            id=run_id,
            resume="allow",
            name=name[: LONGEST["name"]],
            tags=[tag[: LONGEST["tag"]] for tag in dict.fromkeys(tags) if tag],
            settings=wandb.Settings(silent=True, console="off"),
            **options,
        )
        for axis in AXES.values():
            self._run.define_metric(axis, hidden=True)

    def _log(self, row: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        values = {shown_name(key): value for key, value in row.items()}
        if self._share_per_speed and "tokens_per_second" in row:
            values["speed/share_of_peak"] = round(row["tokens_per_second"] * self._share_per_speed, 4)
        self._commit({**values, **more})

    def _commit(self, values: Mapping[str, Any]) -> None:
        if self._count >= self._run.step:  # an online run that is resumed has the rows before
            self._run.log({**values, **self._pending}, step=self._count, commit=True)
            self._pending = {}
        self._count += 1

    def _use(self, folder: RunFolder) -> None:
        """Say that the stage starts from the weights of another one."""
        if self.mode == "disabled":
            return
        # Offline, wandb's use_artifact refuses; this is what it does with an artifact that is not sent yet.
        self._run._log_artifact(weights_of(folder), use_after_commit=True)


def run_name(job: Job) -> str:
    """Return what people read: `copy_curriculum / curriculum / copy, mixer, seed 0`.

    A stage that several arms of the command share is named after the first of them, which trains it: `curriculum +5`.
    """
    arms = _arms(job)
    shared = [f"{arms[0]} +{len(arms) - 1}" if len(arms) > 1 else arms[0]] if arms else []
    stage, architecture, seed = _labels(job)
    return ", ".join([" / ".join([*filter(None, [job.config["experiment"]]), *shared, stage]), architecture, seed])


def chosen(job: Job) -> Config:
    """Return what was chosen for a stage, in groups, without what follows from it."""
    stage, config = job.stage, job.config
    choices = {"experiment": config["experiment"], "arms": ", ".join(_arms(job))}
    choices |= {group: config[group]["name"] for group in CHOICES}
    groups = {
        "choices": choices,
        "model": stage.model,
        "objective": stage.objective,
        "training": stage.training,
        "stage": {"name": stage.name, "fingerprint": job.folder.fingerprint, "place": stage.place},
    }
    return {name: plain(values) for name, values in groups.items()}


def plain(value: Any) -> Any:
    """Return a specification without what says nothing to people; a class keeps the last part of its name."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: plain(item) for key, item in value.items() if item is not None and key not in (TARGET, PARTIAL)}
    return {"class": value[TARGET].rpartition(".")[2], **found} if TARGET in value else found


def shown_name(key: str) -> str:
    """Return wandb's name for a key of metrics.jsonl."""
    place = re.fullmatch(r"places/(.+)/token_accuracy", key)
    return f"val/accuracy_at/{place[1]}" if place else NAMES.get(key, key)


def share_per_speed(job: Job) -> float:
    """Return the share of the devices' matrix-product peak that a token per second stands for."""
    from memlab.training.build import build_objective, layout_of
    from memlab.training.estimate import flops_per_step
    from memlab.training.peak import kept_rate
    from memlab.training.trainer import on_gpu

    training, settings = job.stage.training, job.settings
    device = "cuda" if on_gpu(settings) else "cpu"
    rate = kept_rate(Path(job.config["runs_dir"]) / "cache" / "peak.json", device, training["precision"])
    window = build_objective(job.stage.objective, job.stage).window(layout_of(job.stage))
    tokens = training["batch_size"] * training["accumulate"] * window
    return flops_per_step(job.stage) / tokens / (rate * settings["devices"] * settings["nodes"])


def weights_of(folder: RunFolder) -> Any:
    """Return an artifact that stands for a stage's weights: their SHA-256. They are not sent."""
    import wandb

    artifact = wandb.Artifact(re.sub(r"[^A-Za-z0-9_.-]", "-", folder.path.name), type="model")
    about = {"run_folder": folder.path.name, "sha256": folder.weights_digest()}
    with artifact.new_file("weights.json") as file:
        file.write(json.dumps(about, indent=1))
    return artifact


def _arms(job: Job) -> list[str]:
    return [arm for arm in (job.asked_by or (job.config["arm"],)) if arm]


def _labels(job: Job) -> tuple[str, str, str]:
    return job.stage.name, job.config["architecture"]["name"], f"seed {job.config['seed']}"

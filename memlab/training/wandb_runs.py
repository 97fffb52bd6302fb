"""Stages and reports as runs of Weights & Biases."""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Literal

from memlab.config.stage import Job
from memlab.progress import say_once
from memlab.storage.provenance import peak_memory
from memlab.storage.run_folder import RunFolder
from memlab.storage.wandb_folder import AXES, STEP, id_of, kept_id, remove_offline_runs
from memlab.training.loggers import RunLogger
from memlab.training.wandb_names import arms_of, chosen, labels_of, run_name, shown_name

LONGEST = {"name": 128, "tag": 64}  # characters that wandb takes
SECTIONS = ("val/*", "train/*", "speed/*", "memory/*", "encoder/*")
PATIENCE = 30.0  # seconds for which a server that does not answer is waited for
Method = Callable[..., None]


def _whatever_the_server_does(method: Method) -> Method:
    """Decorate a method that may hear from the server: if it fails online, the run begins again offline and goes on."""

    @wraps(method)
    def call(self: "WandbRuns", *arguments: Any) -> None:
        try:
            method(self, *arguments)
        except Exception as error:  # of wandb, of its service, of a connection, or an answer that cannot be read
            if self.mode != "online":
                raise
            self._leave(error)
            if self._begun is not None:
                self.begin(*self._begun)  # with the row or the texts that could not be sent: they are in files
            if self._evaluated is not None:
                self.log_evaluation(*self._evaluated)
            if method.__name__ in ("log_report", "close"):
                method(self, *arguments)

    return call


class WandbRuns(RunLogger):
    """A run per stage and per report, all in one folder, runs/wandb. Every metric is drawn against the training step.

    A resumed stage keeps its run's id. Its rows are logged anew from metrics.jsonl: a kill loses none, and none is
    there twice. Row number n of metrics.jsonl is wandb's step n, so an online run refuses what it has.
    A server that cannot be reached, or that fails, stops nothing: this process then goes on offline, and says so.
    mode: offline or online; project, entity: as wandb takes them.
    """

    _server_failed = False  # in this process

    def __init__(
        self, *, mode: Literal["offline", "online", "disabled"], project: str, entity: str | None = None
    ) -> None:
        self.mode: Any = "offline" if mode == "online" and WandbRuns._server_failed else mode
        self.project = project
        self.entity = entity
        self._run: Any = None
        self._begun: tuple[Job, dict[str, Any]] | None = None
        self._evaluated: tuple[dict[str, Any], list[dict[str, Any]]] | None = None
        self._count = 0  # rows so far
        self._texts: list[dict[str, Any]] = []  # reconstructions so far
        self._pending: dict[str, Any] = {}  # goes with the next row
        self._share_per_speed = 0.0  # share of the machine's peak, per token per second

    @_whatever_the_server_does
    def begin(self, job: Job, summary: dict[str, Any]) -> None:
        self._begun, self._count, self._texts, self._pending = (job, summary), 0, [], {}
        remove_offline_runs(job.folder.path, id_of(job.folder.path))  # where older versions kept them
        self._open(
            job.folder.path,
            Path(job.config["runs_dir"]),
            id_from=" ".join((*arms_of(job)[:1], *labels_of(job))),
            name=run_name(job),
            group=job.config["experiment"] or "single",
            job_type=job.stage.name,
            tags=[job.config["architecture"]["name"], job.config["scale"]["name"], *arms_of(job)],
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
                self._show(due)
            self._log(row, {})
        if texts:
            self._show(texts)

    @_whatever_the_server_does
    def log(self, row: dict[str, Any]) -> None:
        speed = "tokens_per_second" in row
        self._log(row, {"memory/peak_gib": round(peak_memory() / 2**30, 3)} if speed else {})

    @_whatever_the_server_does
    def log_reconstructions(self, rows: list[dict[str, Any]]) -> None:
        self._show(rows)

    @_whatever_the_server_does
    def log_evaluation(self, metrics: dict[str, Any], samples: list[dict[str, Any]]) -> None:
        if self._run is None or self._begun is None:
            return  # the stage was measured again, without training
        self._evaluated, (job, _) = (metrics, samples), self._begun
        self._run.summary.update({f"evaluation/{name}": value for name, value in metrics.items()})
        if self._pending:
            self._commit({STEP: job.stage.training["steps"]})
        self._run.log_artifact(weights_of(job.folder))

    @_whatever_the_server_does
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
        self._finish()

    @_whatever_the_server_does
    def close(self) -> None:
        self._finish()

    def _finish(self) -> None:
        # A run left open would take in the rows of the next stage of this process.
        run, self._run = self._run, None
        if run is not None:
            run.finish()

    def _leave(self, error: Exception) -> None:
        """Go on offline from now on, in this process."""
        import wandb

        reason = (str(error).splitlines() or [type(error).__name__])[0]
        say_once(
            "wandb",
            f"Weights & Biases: {reason}. Runs go on offline; `wandb sync wandb/offline-run-*`, in the runs folder,"
            " sends them later.",
        )
        self.mode, WandbRuns._server_failed = "offline", True
        with suppress(Exception):  # the same trouble again
            self._finish()
        wandb.teardown()  # its service would not give the run's id to another run

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
            # An offline run has every row from the first on: sent again, it replaces what the server has of the run.
            resume="allow" if self.mode == "online" else None,
            name=name[: LONGEST["name"]],
            tags=[tag[: LONGEST["tag"]] for tag in dict.fromkeys(tags) if tag],
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=PATIENCE,
                finish_timeout=PATIENCE,
                finish_timeout_raises=True,
            ),
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
        if self._count >= self._run.starting_step:  # an online run that is resumed has the rows before
            self._run.log({**values, **self._pending}, step=self._count, commit=True)
            self._pending = {}
        self._count += 1

    def _show(self, rows: list[dict[str, Any]]) -> None:
        """Show reconstructions together with the next row."""
        import wandb

        self._texts += rows
        cells = [[row["step"], row["text"], row["regenerated"], row["wrong"]] for row in self._texts]
        self._pending["val/reconstructions"] = wandb.Table(["step", "text", "regenerated", "wrong"], cells)

    def _use(self, folder: RunFolder) -> None:
        """Say that the stage starts from the weights of another one."""
        if self.mode == "disabled":
            return
        # Offline, wandb's use_artifact refuses; this is what it does with an artifact that is not sent yet.
        self._run._log_artifact(weights_of(folder), use_after_commit=True)


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

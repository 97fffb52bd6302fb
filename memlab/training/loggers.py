"""Loggers beside the run folder: Weights & Biases, offline or online, or none."""

import secrets
from typing import TYPE_CHECKING, Any, Literal, Protocol

from memlab.config.instantiate import build
from memlab.config.stage import Job
from memlab.processes import ranks

if TYPE_CHECKING:
    from memlab.models import LanguageModel


class RunLogger(Protocol):
    """Where a stage's metrics go besides its run folder. One of your own is a class and a file in conf/logger."""

    def begin(self, job: Job, summary: dict[str, Any]) -> list[Any]:
        """Open a run; return the Lightning loggers that training writes to. summary: counts of parameters."""
        raise NotImplementedError

    def log_evaluation(self, metrics: dict[str, Any], samples: list[dict[str, Any]]) -> None:
        """Take the finished stage's metrics, and texts beside what the model regenerates from them."""
        raise NotImplementedError

    def close(self) -> None:
        """Send what is left."""
        raise NotImplementedError


class NoLogger:
    """Nothing beside metrics.jsonl and metrics.csv."""

    def begin(self, job: Job, summary: dict[str, Any]) -> list[Any]:
        return []

    def log_evaluation(self, metrics: dict[str, Any], samples: list[dict[str, Any]]) -> None:
        pass

    def close(self) -> None:
        pass


class WandbRuns:
    """A wandb run per stage, in its run folder. A resumed stage continues under the same wandb id.

    mode: offline or online; project, entity: as wandb takes them.
    """

    def __init__(
        self, *, mode: Literal["offline", "online", "disabled"], project: str, entity: str | None = None
    ) -> None:
        self.mode: Any = mode
        self.project = project
        self.entity = entity
        self._run: Any = None
        self._step = 0

    def begin(self, job: Job, summary: dict[str, Any]) -> list[Any]:
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        self._step = job.stage.training["steps"]
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=job.folder.path,
            id=job.folder.wandb_id(secrets.token_hex(4)),
            resume="allow",
            name=f"{job.folder.path.name} {job.config['architecture']['name']} seed {job.config['seed']}",
            group=job.config["experiment"] or "single",
            job_type=job.stage.name,
            config={**job.config, "fingerprint": job.folder.fingerprint},
            settings=wandb.Settings(silent=True),
        )
        self._run.summary.update(summary)
        return [WandbLogger(experiment=self._run)]

    def log_evaluation(self, metrics: dict[str, Any], samples: list[dict[str, Any]]) -> None:
        if self._run is None:
            return  # the stage was measured again, without training
        import wandb

        self._run.summary.update({f"evaluation/{name}": value for name, value in metrics.items()})
        rows = [[sample["text"], sample["regenerated"]] for sample in samples]
        self._run.log(
            {"reconstructions": wandb.Table(["text", "regenerated"], rows), "trainer/global_step": self._step}
        )

    def close(self) -> None:
        # A run left open would take in the rows of the next stage of this process.
        if self._run is not None:
            self._run.finish()
            self._run = None


class Loggers:
    """The logger of one stage, on rank 0; nothing on other ranks."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.of_lightning: list[Any] = []
        self._logger: RunLogger = build(job.config["logger"]) if ranks.is_first() else NoLogger()

    def begin(self, model: "LanguageModel") -> None:
        parameters = list(model.parameters())
        summary = {
            "parameters": sum(p.numel() for p in parameters),
            "trained_parameters": sum(p.numel() for p in parameters if p.requires_grad),
            "memory_floats_per_chunk": model.memory_floats,
        }
        self.of_lightning = self._logger.begin(self.job, summary)

    def log_evaluations(self) -> None:
        """Log the metrics of the stage's own evaluations, with their table's name where there are several."""
        metrics: dict[str, Any] = {}
        for evaluation in self.job.evaluations:
            if evaluation.own_objective and evaluation.own_text:
                tables = self.job.folder.read_evaluation(evaluation.file)["metrics"]
                for table, values in tables.items():
                    prefix = f"{table}/" if len(tables) > 1 else ""
                    metrics.update({prefix + name: value for name, value in values.items()})
        self._logger.log_evaluation(metrics, self.job.folder.read_samples())

    def close(self) -> None:
        self._logger.close()

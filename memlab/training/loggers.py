"""Where metrics go besides run folders and reports: the logger of a stage, and what every logger promises."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlab.config.instantiate import build
from memlab.config.stage import Job
from memlab.processes import ranks

if TYPE_CHECKING:
    from memlab.models import LanguageModel


class RunLogger:
    """Takes what happens in a stage, and what an experiment has found. Each method does nothing until it is overridden.

    A logger of your own is a class derived from this one and a file in conf/logger (docs/extending.md). It lives for
    one stage, or for one report.
    """

    def begin(self, job: Job, summary: dict[str, Any]) -> None:
        """Open a run. summary: counts of parameters.

        A resumed stage has the rows up to its checkpoint in its run folder (job.folder.read_metrics()); the rows after
        it come again.
        """

    def log(self, row: dict[str, Any]) -> None:
        """Take a row of metrics.jsonl, which is written there already."""

    def log_reconstructions(self, rows: list[dict[str, Any]]) -> None:
        """Take rows of reconstructions.jsonl, which are written there already; a row of metrics follows."""

    def log_evaluation(self, metrics: dict[str, Any], samples: list[dict[str, Any]]) -> None:
        """Take the finished stage's metrics, and texts beside what the model regenerates from them.

        For a stage that is measured again without training, `begin` was not called.
        """

    def log_report(self, folder: Path, runs_dir: Path, content: Mapping[str, Any]) -> None:
        """Take a finished experiment: its report lies in `folder`; content: see memlab.report.writers.Logged."""

    def close(self) -> None:
        """Send what is left."""


class NoLogger(RunLogger):
    """Nothing beside metrics.jsonl and metrics.csv."""


class Loggers:
    """The logger of one stage, on rank 0; nothing on other ranks."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._logger: RunLogger = build(job.config["logger"]) if ranks.is_first() else NoLogger()
        self.log = self._logger.log
        self.log_reconstructions = self._logger.log_reconstructions

    def begin(self, model: "LanguageModel") -> None:
        parameters = list(model.parameters())
        summary = {
            "parameters": sum(p.numel() for p in parameters),
            "trained_parameters": sum(p.numel() for p in parameters if p.requires_grad),
            "memory_floats_per_chunk": model.memory_floats,
        }
        self._logger.begin(self.job, summary)

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

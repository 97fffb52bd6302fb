"""Weights & Biases, as one run per stage: grouped by experiment, the stage as job type."""

import secrets
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from memlab.config.plan import Job, choices
from memlab.storage.files import read_json, write_json


def make_loggers(job: Job, summary: dict[str, Any]) -> list[Logger]:
    """The loggers that `logger` asks for. `summary`: parameter and memory counts.

    A resumed stage goes on under the wandb id it began with.
    """
    options = job.config["logger"]
    if options["name"] == "none":
        return []
    import wandb

    remembered = job.folder.path / "wandb.json"
    if not remembered.is_file():
        write_json(remembered, {"id": secrets.token_hex(4)})
    point = choices(job)
    run = wandb.init(
        project=options["project"],
        entity=options["entity"],
        mode=options["mode"],
        dir=job.folder.path,
        id=read_json(remembered)["id"],
        resume="allow",
        name=f"{job.folder.path.name} {point['architecture']} seed {point['seed']}",
        group=job.config["experiment"] or "single",
        job_type=job.stage.name,
        config={**job.config, "fingerprint": job.folder.fingerprint},
        settings=wandb.Settings(silent=True),
    )
    run.summary.update(summary)
    return [WandbLogger(experiment=run)]


def log_evaluation(loggers: list[Logger], metrics: dict[str, Any], samples: list[dict[str, str]], step: int) -> None:
    """The finished stage's metrics, and input text beside regenerated text as a table."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update({f"evaluation/{name}": value for name, value in metrics.items()})
            columns = ["text", "regenerated"]
            logger.log_table(
                "reconstructions", columns, [[sample[c] for c in columns] for sample in samples], step=step
            )


def close_loggers(loggers: list[Logger]) -> None:
    """Sends what is left. A run left open would take in the rows of the next stage of this process."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()

"""What people read of a stage in Weights & Biases: its name, its configuration, its metrics."""

import re
from typing import Any

from memlab.config.instantiate import PARTIAL, TARGET
from memlab.config.stage import Config, Job
from memlab.storage.wandb_folder import AXES

NAMES = {**AXES, "lr": "train/learning_rate", "tokens_per_second": "speed/tokens_per_second"}
CHOICES = ("architecture", "encoder", "curriculum", "scale", "data")


def run_name(job: Job) -> str:
    """Return what people read: `copy_curriculum / curriculum / copy, mixer, seed 0`.

    A stage that several arms of the command share is named after the first of them, which trains it: `curriculum +5`.
    """
    arms = arms_of(job)
    shared = [f"{arms[0]} +{len(arms) - 1}" if len(arms) > 1 else arms[0]] if arms else []
    stage, architecture, seed = labels_of(job)
    return ", ".join([" / ".join([*filter(None, [job.config["experiment"]]), *shared, stage]), architecture, seed])


def chosen(job: Job) -> Config:
    """Return what was chosen for a stage, in groups, without what follows from it."""
    stage, config = job.stage, job.config
    choices = {"experiment": config["experiment"], "arms": ", ".join(arms_of(job))}
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


def arms_of(job: Job) -> list[str]:
    return [arm for arm in (job.asked_by or (job.config["arm"],)) if arm]


def labels_of(job: Job) -> tuple[str, str, str]:
    return job.stage.name, job.config["architecture"]["name"], f"seed {job.config['seed']}"

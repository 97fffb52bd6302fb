"""A finished stage is measured: every measure that is missing in its run folder is made now."""

from pathlib import Path

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment

from memlab.config.instantiate import build
from memlab.config.stage import Evaluation, Job
from memlab.data import Prepared, prepare_held_out
from memlab.data.module import Windows
from memlab.measures import Result, Subject
from memlab.models import LanguageModel
from memlab.training.build import build_objective, build_stage, layout_of, load_weights
from memlab.training.stage import prepared_of
from memlab.training.trainer import accelerator


def evaluate(job: Job) -> None:
    """Write the evaluation files that are missing. One process does this, whatever trained."""
    if not (missing := job.missing):
        return
    model, _ = build_stage(job.stage)
    load_weights(model, job.folder.weights)
    fabric = Fabric(
        accelerator=accelerator(job.settings),
        devices=1,
        precision=job.stage.training["precision"],
        plugins=[LightningEnvironment()],
    )
    fabric.setup_module(model)  # moved to the device, in the stage's precision
    model.eval()
    with torch.inference_mode(), fabric.autocast():
        for evaluation in missing:
            subject = _subject(job, evaluation, model, fabric.device)
            result: Result = build(evaluation.settings["measure"])(subject)
            if result.samples and evaluation.own_text and evaluation.own_objective:
                job.folder.write_samples(result.samples)
            # Every table is named, so that a reader sees whether the objective has several.
            metrics = {name: result.metrics.get(name, {}) for name in subject.table_names()}
            content = {"metrics": metrics, "windows": result.windows, "places": result.places}
            job.folder.write_evaluation(evaluation.file, evaluation.settings, content)


def require_measurable(job: Job) -> None:
    """Raise UserError if a text to measure on is not to be had or too short, or an objective does not fit the model."""
    for evaluation in job.evaluations:
        build(evaluation.settings["measure"])
        window = build_objective(evaluation.settings["objective"], job.stage).window(layout_of(job.stage))
        Windows.of(_text(job, evaluation), "val", window).require(1, "held-out")


def _subject(job: Job, evaluation: Evaluation, model: LanguageModel, device: torch.device) -> Subject:
    return Subject(
        model=model,
        objective=build_objective(evaluation.settings["objective"], job.stage),
        layout=layout_of(job.stage),
        text=_text(job, evaluation),
        batch_size=job.stage.training["batch_size"],
        device=device,
    )


def _text(job: Job, evaluation: Evaluation) -> Prepared:
    prepared = prepared_of(job)
    if evaluation.own_text:
        return prepared
    root = Path(job.config["runs_dir"]) / "data"
    return prepare_held_out(build(evaluation.data), prepared, root, evaluation.settings["data"])

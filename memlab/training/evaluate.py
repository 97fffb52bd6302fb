"""A finished stage is measured: every measure that is missing in its run folder is made now."""

from pathlib import Path

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment

from memlab.config.instantiate import build
from memlab.config.stage import Evaluation, Job
from memlab.data import Prepared, prepare_held_out
from memlab.data.module import HeldOutBatches
from memlab.measures import Measure, Subject
from memlab.models import LanguageModel
from memlab.training.build import build_objective, build_stage, layout_of, load_weights
from memlab.training.stage import prepared_of
from memlab.training.trainer import accelerator


def evaluate(job: Job) -> None:
    """Write the evaluation files that are missing. One process does this, whatever trained."""
    missing = job.missing
    if not missing:
        return
    model, _ = build_stage(job.stage)
    load_weights(model, job.folder.weights)
    fabric = Fabric(
        accelerator=accelerator(job.settings),
        devices=1,
        precision=job.stage.training["precision"],
        plugins=[LightningEnvironment()],
    )
    model = fabric.setup_module(model).module.eval()
    with torch.inference_mode(), fabric.autocast():
        for evaluation in missing:
            result = make_measure(evaluation)(_subject(job, evaluation, model, fabric.device))
            if result.samples and evaluation.own_text and evaluation.own_objective:
                job.folder.write_samples(result.samples)
            content = {"metrics": result.metrics, "windows": result.windows}
            job.folder.write_evaluation(evaluation.file, evaluation.settings, content)


def require_measurable(job: Job) -> None:
    """Raise UserError if a text to measure on is not to be had or too short, or an objective does not fit the model."""
    for evaluation in job.evaluations:
        make_measure(evaluation)
        _held_out(job, evaluation)


def make_measure(evaluation: Evaluation) -> Measure:
    measure: Measure = build(evaluation.settings["measure"])
    return measure


def _subject(job: Job, evaluation: Evaluation, model: LanguageModel, device: torch.device) -> Subject:
    text = _text(job, evaluation)
    objective = build_objective(evaluation.settings["objective"], job.stage)
    return Subject(
        model=model,
        objective=objective,
        layout=layout_of(job.stage),
        codec=text.codec,
        tokens=text.tokens("val"),
        batch_size=job.stage.training["batch_size"],
        device=device,
    )


def _held_out(job: Job, evaluation: Evaluation) -> HeldOutBatches:
    text = _text(job, evaluation)
    window = build_objective(evaluation.settings["objective"], job.stage).window(layout_of(job.stage))
    return HeldOutBatches(text.tokens("val"), window, 1, 1)


def _text(job: Job, evaluation: Evaluation) -> Prepared:
    prepared = prepared_of(job)
    if evaluation.own_text:
        return prepared
    root = Path(job.config["runs_dir"]) / "data"
    return prepare_held_out(build(evaluation.data), prepared, root, evaluation.settings["data"])

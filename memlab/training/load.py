"""A finished run as Python objects, from its folder alone: without its corpus, Hydra or Lightning."""

from pathlib import Path

from memlab.config.stage import Stage
from memlab.data import TextCodec, load_tokenizer
from memlab.models import LanguageModel
from memlab.storage.run_folder import RunFolder
from memlab.training.build import build_stage, load_weights


def load_run(folder: Path | str) -> tuple[LanguageModel, TextCodec, Stage]:
    """Return a finished run's model (on the CPU, in evaluation mode), its tokenizer, and what was trained.

    folder: a run folder (runs/stages/*), or a copy of one anywhere. Raises UserError if it does not hold a finished
    stage, or one of another version of memlab.
    """
    run = RunFolder.open(Path(folder))
    stage = Stage.read(run)
    model, _ = build_stage(stage)
    load_weights(model, run.weights)
    return model.eval(), load_tokenizer(run.path), stage

"""What the model regenerates of a few held-out windows, at the start, in the middle and at the end of its training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import FSDPStrategy

from memlab.data import Prepared
from memlab.data.pieces import WRONG, pieces
from memlab.measures import Subject
from memlab.measures.samples import reconstructions
from memlab.models import LanguageModel
from memlab.processes import ranks
from memlab.storage.run_folder import RunFolder

WINDOWS = 4
MARKED = "⟦{}⟧"  # how a piece of wrong tokens is shown


class Reconstructions(Callback):
    """Writes WINDOWS rows of reconstructions.jsonl after the first validation, after the one in the middle, at the end.

    send: takes the rows, too. The windows are the same each time. Under FSDP nothing is written: a rank has only a part
    of the weights.
    """

    def __init__(self, folder: RunFolder, text: Prepared, steps: int, send: Callable[[list[dict[str, Any]]], None]):
        self.folder = folder
        self.text = text
        self.send = send
        self.due = [0, (steps + 1) // 2]  # steps from which on the next validation is one of the three moments
        self.written = 0  # the last step of which there are rows

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        for step in (row["step"] for row in self.folder.read_reconstructions()):
            self._mark(step)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.due and trainer.global_step >= self.due[0]:
            self._write(trainer, module)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._write(trainer, module)

    def _mark(self, step: int) -> None:
        self.written = step
        self.due = [due for due in self.due if due > step]

    def _write(self, trainer: Trainer, module: Any) -> None:
        step, model = trainer.global_step, module.model
        if step == self.written:
            return
        self._mark(step)
        if not ranks.is_first() or isinstance(trainer.strategy, FSDPStrategy):
            return
        if not model.can & {"predict", "regenerate"}:
            return
        subject = Subject(model, module.objective, module.layout, self.text, WINDOWS, module.device)
        with measuring(model), trainer.precision_plugin.forward_context():
            texts_BT, guesses_BT = reconstructions(subject, next(subject.batches(WINDOWS)))
        rows = [
            {"step": step, **row(self.text, text, guess)}
            for text, guess in zip(texts_BT.tolist(), guesses_BT.tolist(), strict=True)
        ]
        self.folder.append_reconstructions(rows)
        self.send(rows)


def row(text: Prepared, tokens: list[int], guesses: list[int]) -> dict[str, Any]:
    """Return {"text", "regenerated" with its wrong tokens marked, "wrong": how many there are}."""
    found = list(pieces(text.decode, tokens, guesses))
    return {
        "text": text.decode(tokens),
        "regenerated": "".join(MARKED.format(of.returned) if of.mark == WRONG else of.returned for of in found),
        "wrong": sum(of.tokens for of in found if of.mark == WRONG),
    }


@contextmanager
def measuring(model: LanguageModel) -> Iterator[None]:
    """Put the model into evaluation, without gradients and without compiling anew; afterwards, as it was."""
    training = [(part, part.training) for part in model.modules()]
    compiled = any(part._compiled_call_impl is not None for part in model.modules())
    model.eval()
    try:
        # A stance imports the compiler, which takes seconds where nothing is compiled.
        with torch.inference_mode(), _eager() if compiled else nullcontext():
            yield
    finally:
        for part, mode in training:
            part.training = mode


def _eager() -> Any:
    return torch.compiler.set_stance("force_eager")

"""What a model gives back of a text that it holds in memories (shapes: see context.py; W windows)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from memlab.config.instantiate import build
from memlab.config.stage import Stage
from memlab.data import TextCodec
from memlab.data.pieces import GIVEN, RIGHT, WRONG, Piece, pieces
from memlab.errors import UserError
from memlab.models import LanguageModel
from memlab.objectives import IGNORE, Layout, Objective, free_running
from memlab.use.trusted import require_trusted


@dataclass(frozen=True)
class Retention:
    """A text beside what came back. accuracy: correct / generated tokens. chunks: the pieces of each chunk."""

    text: str
    returned: str
    accuracy: float
    chunks: tuple[tuple[Piece, ...], ...]


def compare(codec: TextCodec, chunks: Sequence[Sequence[int]], returned: Sequence[Sequence[int]]) -> Retention:
    """Put the tokens of each chunk beside those that came back; IGNORE among these is a token that was given.

    Raises UserError if no token is generated.
    """
    marks = [
        [GIVEN if got == IGNORE else RIGHT if got == token else WRONG for token, got in zip(chunk, back, strict=True)]
        for chunk, back in zip(chunks, returned, strict=True)
    ]
    filled = [
        [token if got == IGNORE else got for token, got in zip(chunk, back, strict=True)]
        for chunk, back in zip(chunks, returned, strict=True)
    ]
    every = [mark for of_chunk in marks for mark in of_chunk]
    generated = len(every) - every.count(GIVEN)
    if not generated:
        raise UserError("the text is too short: no token of it would be generated")
    return Retention(
        text=codec.decode([token for chunk in chunks for token in chunk]),
        returned=codec.decode([token for chunk in filled for token in chunk]),
        accuracy=every.count(RIGHT) / generated,
        chunks=tuple(tuple(pieces(codec.decode, *row)) for row in zip(chunks, filled, marks, strict=True)),
    )


def copied(
    model: LanguageModel, stage: Stage, codec: TextCodec, trust: Sequence[str], ids: Sequence[int]
) -> tuple[list[list[int]], list[list[int]]]:
    """Let a model copy a text in windows, as its objective asks for; return the chunks, and what came back of each.

    The model reads its own likeliest tokens. It is given each chunk's first token, and no others unless its objective
    hides them. Raises UserError for a model whose objective copies nothing.
    """
    objective = _objective(stage, codec, trust)
    layout, length = Layout(model.chunks, model.length), model.length
    window = objective.window(layout)
    scored = objective.tables(torch.full((1, window), codec.blank), layout)[-1].scored
    places = slice(scored.start * length, scored.stop * length)
    size = min(len(scored) * length, window)  # tokens of a window that are copied; others stay blank
    text_WT = torch.full((-(-len(ids) // size), size), codec.blank)
    text_WT.view(-1)[: len(ids)] = torch.tensor(ids)
    windows_WT = F.pad(text_WT, (0, window - size), value=codec.blank).to(model.head.weight.device)
    table = objective.tables(windows_WT, layout)[-1]
    labels_WT = table.labels_BCL.flatten(1)[:, places].cpu()
    if scored.start == 0 or not ((labels_WT == text_WT) | (labels_WT == IGNORE)).all():
        raise UserError(
            f"this model was trained on {objective.name}, which gives no text back: take one that was trained to copy"
            " (copy, blank_copy, combined) or an autoencoder"
        )
    back = free_running(model, table).generated_BT[:, places].flatten()[: len(ids)].tolist()
    starts = range(0, len(ids), length)
    return [list(ids[start : start + length]) for start in starts], [back[start : start + length] for start in starts]


def _objective(stage: Stage, codec: TextCodec, trust: Sequence[str]) -> Objective:
    require_trusted(stage.objective, trust, "the config")
    objective = build(stage.objective, blank=codec.blank, delimiter=codec.delimiter)
    if not isinstance(objective, Objective):
        raise UserError("the config names no objective")
    return objective

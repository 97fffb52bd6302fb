"""Held-out texts beside what the model regenerates from them."""

from typing import Any

import torch
from torch import Tensor

from memlab.data.pieces import RIGHT, Piece, pieces
from memlab.measures.base import Measure, Result, Subject
from memlab.objectives import IGNORE


class Samples(Measure):
    """{"text", "regenerated", "parts"} of each window, teacher-forced: what was scored, and the likeliest tokens.

    parts: the same in pieces, {"right", "tokens", "text", "regenerated"}; the tokens of a piece are all right or all
    wrong. Where no token is scored (a chunk's first), both show what the model was given.
    """

    name = "samples"

    def __call__(self, subject: Subject) -> Result:
        if not subject.model.can & {"predict", "regenerate"}:
            return Result()
        samples = []
        for tokens_BT in subject.batches(self.windows):
            texts_BT, regenerated_BT = reconstructions(subject, tokens_BT)
            samples += [
                {
                    "text": subject.text.decode(text),
                    "regenerated": subject.text.decode(guess),
                    "parts": [_part(piece) for piece in pieces(subject.text.decode, text, guess)],
                }
                for text, guess in zip(texts_BT.tolist(), regenerated_BT.tolist(), strict=True)
            ]
        return Result(samples=samples)


def _part(piece: Piece) -> dict[str, Any]:
    same = {"tokens": piece.tokens, "text": piece.text, "regenerated": piece.returned}
    return {"right": piece.mark == RIGHT, **same}


def reconstructions(subject: Subject, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens of the last table's scored chunks, and the likeliest token at each place, (B, n*L) both."""
    table, shift = subject.objective.tables(tokens_BT, subject.layout)[-1], subject.objective.shift
    chunks = slice(table.scored.start, table.scored.stop)
    labels_BnL, given_BnL = table.labels_BCL[:, chunks], table.inputs_BCL[:, chunks]
    predicted_BnL = subject.model(table.inputs_BCL, table.scored).argmax(-1)
    if shift:
        predicted_BnL = torch.cat((given_BnL[:, :, :shift], predicted_BnL[:, :, :-shift]), dim=2)
    scored = labels_BnL != IGNORE
    return (
        torch.where(scored, labels_BnL, given_BnL).flatten(1),
        torch.where(scored, predicted_BnL, given_BnL).flatten(1),
    )

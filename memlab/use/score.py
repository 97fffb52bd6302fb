"""What a model thinks of texts (shapes: see context.py)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from memlab.models import LanguageModel
from memlab.objectives import IGNORE
from memlab.objectives.scoring import head_loss
from memlab.use.context import Context


@dataclass(frozen=True)
class Scored:
    """Sums over the scored tokens of a text: nats, and the tokens themselves."""

    nats: float
    tokens: tuple[int, ...]


def score_texts(model: LanguageModel, texts: Sequence[Sequence[int]], batch: int) -> list[Scored]:
    """Score every token of each text but the first of each chunk, as the evaluation of next-token prediction does."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # texts of like length together
    scored: dict[int, Scored] = {}
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        scored.update(zip(rows, _score_together(model, [texts[row] for row in rows]), strict=True))
    return [scored[row] for row in range(len(texts))]


@torch.no_grad()
def _score_together(model: LanguageModel, texts: Sequence[Sequence[int]]) -> list[Scored]:
    device, length = model.head.weight.device, model.length
    chunks = max(1, -(-max(map(len, texts)) // length))
    tokens_BT = torch.zeros(len(texts), chunks * length, dtype=torch.int64)
    labels_BT = torch.full_like(tokens_BT, IGNORE)
    for row, text in enumerate(texts):
        tokens_BT[row, : len(text)] = labels_BT[row, : len(text)] = torch.tensor(text, dtype=torch.int64)
    labels_BT[:, ::length] = IGNORE
    context = Context(model, torch.empty(len(texts), 0, length, dtype=torch.int64, device=device))
    nats_B = torch.zeros(len(texts), dtype=torch.float64)
    for tokens_BL, labels_BL in zip(tokens_BT.split(length, 1), labels_BT.split(length, 1), strict=True):
        hidden_BLD = context.read(tokens_BL.to(device))
        labels_P = F.pad(labels_BL[:, 1:], (0, 1), value=IGNORE).flatten().to(device)
        nats_P = head_loss(model.head, hidden_BLD.flatten(0, 1), labels_P)[1]
        nats_B += nats_P.view(len(texts), -1).double().sum(1).cpu()
    scored = [tuple(labels[labels != IGNORE].tolist()) for labels in labels_BT]
    return [Scored(nats, tokens) for nats, tokens in zip(nats_B.tolist(), scored, strict=True)]

"""What a model thinks of texts (shapes: see context.py)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from memlab.models import LanguageModel
from memlab.objectives import IGNORE
from memlab.objectives.scoring import head_loss
from memlab.use.context import Context


@dataclass(frozen=True)
class Scored:
    """A text's scored tokens, in order: their places, ids and nats, and whether each was the likeliest."""

    places: tuple[int, ...]
    tokens: tuple[int, ...]
    nats_of: tuple[float, ...]
    likeliest: tuple[bool, ...]

    @property
    def nats(self) -> float:
        return sum(self.nats_of)


def score_texts(
    model: LanguageModel,
    texts: Sequence[Sequence[int]],
    batch: int,
    *,
    firsts: bool = False,
    tick: Callable[[int], object] = lambda count: None,
) -> list[Scored]:
    """Score every token of each text but the first of each chunk, as the evaluation of next-token prediction does.

    firsts: score the first token of each chunk, too, as `generate` predicts it; only a text's very first token is left.
    tick: called with the number of texts that were scored together.
    """
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # texts of like length together
    scored: dict[int, Scored] = {}
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        scored.update(zip(rows, _score_together(model, [texts[row] for row in rows], firsts), strict=True))
        tick(len(rows))
    return [scored[row] for row in range(len(texts))]


@torch.no_grad()
def _score_together(model: LanguageModel, texts: Sequence[Sequence[int]], firsts: bool) -> list[Scored]:
    device, length = model.head.weight.device, model.length
    chunks = max(1, -(-max(map(len, texts)) // length))
    tokens_BT = torch.zeros(len(texts), chunks * length, dtype=torch.int64)
    labels_BT = torch.full_like(tokens_BT, IGNORE)
    for row, text in enumerate(texts):
        tokens_BT[row, : len(text)] = labels_BT[row, : len(text)] = torch.tensor(text, dtype=torch.int64)
    labels_BT[:, :: chunks * length if firsts else length] = IGNORE
    context = Context(model, torch.empty(len(texts), 0, length, dtype=torch.int64, device=device))
    nats, likeliest = [], []
    for start in range(0, chunks * length, length):
        asked_first = firsts and start > 0
        first_B1D = [context.next_hidden()[:, None]] if asked_first else []
        hidden_BLD = context.read(tokens_BT[:, start : start + length].to(device))
        hidden_BnD = torch.cat((*first_B1D, hidden_BLD[:, :-1]), dim=1)
        labels_Bn = labels_BT[:, start + (not asked_first) : start + length].to(device)
        _, nats_P, right_P = head_loss(model.head, hidden_BnD.flatten(0, 1), labels_Bn.flatten())
        front = (length - labels_Bn.shape[1], 0)
        nats.append(F.pad(nats_P.view(labels_Bn.shape).double().cpu(), front))
        likeliest.append(F.pad(right_P.view(labels_Bn.shape).cpu(), front))
    nats_BT, likeliest_BT, scored_BT = torch.cat(nats, 1), torch.cat(likeliest, 1), labels_BT != IGNORE
    return [
        Scored(*(tuple(of.tolist()) for of in (scored_T.nonzero()[:, 0], *(part[scored_T] for part in parts))))
        for scored_T, *parts in zip(scored_BT, tokens_BT, nats_BT, likeliest_BT, strict=True)
    ]

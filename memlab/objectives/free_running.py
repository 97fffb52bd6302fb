"""Free-running (greedy) decoding of what a model copies, beside the teacher-forced figures (shapes: see base.py).

Teacher forcing shows the decoder the true token at every position, so that a model which only continues text well
scores, too. Here it reads its own likeliest tokens, within a chunk and, as memories, from chunk to chunk:

    given      x0  .  .  .          the chunk's first token, and whatever is not a visible target (delimiters, blanks)
    position    0  1  2  3
    predicts      g1 g2 g3          each is written into the inputs at its place before the next position is read
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from memlab.models.base import LanguageModel
from memlab.objectives.base import Objective
from memlab.objectives.table import IGNORE, Table


@dataclass(frozen=True)
class Counts:
    """Sums over the scored tokens of each window: tokens generated right, tokens."""

    correct_R: Tensor
    count_R: Tensor


def free_running_sums(
    model: LanguageModel, objective: Objective, tokens_BT: Tensor, chunks: int, length: int
) -> dict[str, Counts]:
    """Counts of the objective's retained tables by their names; none for an objective that shows no target."""
    tables = objective.tables(tokens_BT, chunks, length) if objective.retained else []
    return {table.name: free_running(model, table) for table in tables if table.name in objective.retained}


@torch.no_grad()
def free_running(model: LanguageModel, table: Table) -> Counts:
    """Generates the scored chunks of a next-token table, all windows together, and counts what is right.

    A visible target is a scored token that the table shows at its place: there, and only there, the generated token
    takes the input's place. Of the chunks before the scored ones memories are made once, of a generated chunk from
    what was generated. One decoder pass per scored position: up to (L - 1) * n over one chunk each; models without
    memories of single chunks (full context, recurrent) read the chunks before again in every pass.
    """
    inputs_BCL, labels_BCL = table.inputs_BCL.clone(), table.labels_BCL
    scored_BCL = labels_BCL != IGNORE
    visible_BCL = scored_BCL & (inputs_BCL == labels_BCL)
    assert not scored_BCL[:, :, 0].any(), "no position predicts a chunk's first token"
    any_scored = scored_BCL.any(0).tolist()
    first = table.scored.start
    memories: list[Tensor] = []  # (B, M, D) each, of the chunks so far
    if model.reads_memories and first > 0:
        embedded = model.embed(inputs_BCL[:, :first].flatten(0, 1))
        memories = list(embedded.unflatten(0, (len(inputs_BCL), first)).unbind(1))
    correct_R = torch.zeros(len(inputs_BCL), dtype=torch.long, device=inputs_BCL.device)
    for chunk in table.scored:
        memories_BcMD = torch.stack(memories, dim=1) if memories else None
        for place in (place for place, is_scored in enumerate(any_scored[chunk]) if is_scored):
            hidden_B1LD = model.hidden(inputs_BCL[:, : chunk + 1], range(chunk, chunk + 1), memories_BcMD)
            generated_B = model.head(hidden_B1LD[:, 0, place - 1]).argmax(-1)
            correct_R += generated_B == labels_BCL[:, chunk, place]
            given_B = inputs_BCL[:, chunk, place]
            inputs_BCL[:, chunk, place] = torch.where(visible_BCL[:, chunk, place], generated_B, given_B)
        if model.reads_memories and chunk + 1 < table.scored.stop:
            memories.append(model.embed(inputs_BCL[:, chunk]))
    return Counts(correct_R, scored_BCL.flatten(1).sum(1))

"""Greedy (free-running) decoding of what a model copies, beside the teacher-forced figures.

Teacher forcing shows the decoder the true token at every position, so that a model which only continues text well
scores, too. Here it reads its own likeliest tokens, within a chunk and, as memories, from chunk to chunk:

    given      x0  .  .  .          the chunk's first token, and whatever is not a visible target (delimiters, blanks)
    position    0  1  2  3
    predicts      g1 g2 g3          each is written into the inputs at its place before the next position is read

Shapes: B windows, C chunks, L tokens per chunk, T = C*L, R windows, t tokens of a step, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from memlab.measures.base import Measure, Result, Subject
from memlab.measures.metrics import TokenAccuracy
from memlab.models import LanguageModel
from memlab.objectives import IGNORE, Layout, Objective, Table


@dataclass(frozen=True)
class Counts:
    """Sums over the scored tokens of each window: tokens generated right, tokens."""

    correct_R: Tensor
    count_R: Tensor


class Greedy(Measure):
    """Accuracy of greedy decoding (free_running_token_accuracy), of tables whose targets are visible as inputs."""

    name = "greedy"

    def __call__(self, subject: Subject) -> Result:
        accuracies: dict[str, TokenAccuracy] = {}
        for tokens_BT in subject.batches(self.windows):
            sums = free_running_sums(subject.model, subject.objective, tokens_BT, subject.layout)
            for name, counts in sums.items():
                # Other ranks, if there are any, do not measure.
                accuracy = accuracies.setdefault(name, TokenAccuracy(sync_on_compute=False))
                accuracy.update(counts.correct_R.cpu(), counts.count_R.cpu())
        return Result(
            metrics={
                name: {"free_running_token_accuracy": accuracy.compute().item()}
                for name, accuracy in accuracies.items()
            }
        )


def free_running_sums(
    model: LanguageModel, objective: Objective, tokens_BT: Tensor, layout: Layout
) -> dict[str, Counts]:
    """Return the counts of the objective's retained tables by name; none for an objective that shows no target."""
    tables = objective.tables(tokens_BT, layout) if objective.retained else []
    return {table.name: free_running(model, table) for table in tables if table.name in objective.retained}


@torch.no_grad()
def free_running(model: LanguageModel, table: Table) -> Counts:
    """Generate the scored chunks of a next-token table, all windows together, and count what is right.

    A visible target is a scored token that the table shows at its place: there, and only there, the generated token
    takes the input's place. The chunks before the scored ones are read once; then one decoding step per scored
    position reads the tokens since the last one.
    """
    length = table.inputs_BCL.shape[2]
    inputs_BT, labels_BT = table.inputs_BCL.flatten(1).clone(), table.labels_BCL.flatten(1)
    scored_BT = labels_BT != IGNORE
    visible_BT = scored_BT & (inputs_BT == labels_BT)
    assert not scored_BT[:, ::length].any(), "no position predicts a chunk's first token"
    read = table.scored.start * length
    state = model.open(table.inputs_BCL[:, : table.scored.start])
    correct_R = torch.zeros(len(inputs_BT), dtype=torch.long, device=inputs_BT.device)
    for place in scored_BT.any(0).nonzero().flatten().tolist():
        hidden_BtD = model.step(inputs_BT[:, read:place], state)
        read = place
        generated_B = model.head(hidden_BtD[:, -1]).argmax(-1)
        correct_R += generated_B == labels_BT[:, place]
        inputs_BT[:, place] = torch.where(visible_BT[:, place], generated_B, inputs_BT[:, place])
    return Counts(correct_R, scored_BT.sum(1))

"""Decoding the scored tokens of a table, greedily and without the true ones in sight.

    given      x0  .  .  .          the chunk's first token, and whatever is not a visible target (delimiters, blanks)
    position    0  1  2  3
    predicts      g1 g2 g3          each is written into the inputs at its place before the next position is read

Shapes: B = R windows, C chunks, L tokens per chunk, T = C*L, t tokens of a step, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from memlab.models import LanguageModel
from memlab.objectives.table import IGNORE, Table


@dataclass(frozen=True)
class Counts:
    """Sums over the scored tokens of each window: tokens generated right, tokens; and the tokens (B, T) themselves.

    generated_BT: IGNORE where no token is scored.
    """

    correct_R: Tensor
    count_R: Tensor
    generated_BT: Tensor


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
    generated_BT = torch.full_like(labels_BT, IGNORE)
    for place in scored_BT.any(0).nonzero().flatten().tolist():
        hidden_BtD = model.step(inputs_BT[:, read:place], state)
        read = place
        generated_B = model.head(hidden_BtD[:, -1]).argmax(-1)
        generated_BT[:, place] = torch.where(scored_BT[:, place], generated_B, IGNORE)
        inputs_BT[:, place] = torch.where(visible_BT[:, place], generated_B, inputs_BT[:, place])
    correct_R = ((generated_BT == labels_BT) & scored_BT).sum(1)
    return Counts(correct_R, scored_BT.sum(1), generated_BT)

"""The head and the loss of scored positions, a piece at a time (shapes: see base.py; P scored positions)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memlab.objectives.table import IGNORE, Table

# Logits that exist at a time, in numbers, and rows that a product must have to be fast: measured on two CPU cores.
PIECE = {"cpu": 2**22, "cuda": 2**27}
FEWEST_ROWS = 256


@dataclass(frozen=True)
class Sums:
    """Sums over the scored tokens of each window, detached: nats, tokens predicted right, tokens.

    by_place_3L: the same three over all windows, by the token's place in its chunk; None where no place is scored.
    """

    loss_R: Tensor
    correct_R: Tensor
    count_R: Tensor
    by_place_3L: Tensor | None = None


def score(head: nn.Linear, hidden_BnLD: Tensor, table: Table, shift: int) -> tuple[Tensor, Sums]:
    """Return the mean loss of a table's scored tokens (with a graph; 0 if none is scored), and its sums per window.

    shift 1: the hidden vector at t scores token t+1 of its chunk; 0: token t.
    """
    end = hidden_BnLD.shape[2] - shift
    labels = table.labels_BCL[:, table.scored.start : table.scored.stop, shift:]
    scored = labels != IGNORE
    count_R = scored.flatten(1).sum(1)
    mean, loss, correct = head_loss(head, hidden_BnLD[:, :, :end].flatten(0, 2), labels.flatten())
    loss, correct = loss.view(labels.shape), correct.view(labels.shape)
    by_place = torch.stack([of.sum((0, 1), dtype=torch.float32) for of in (loss, correct, scored)])
    loss_R, correct_R = (of.flatten(1).sum(1) for of in (loss, correct))
    return mean, Sums(loss_R, correct_R, count_R, F.pad(by_place, (shift, 0)))


def head_loss(head: nn.Linear, hidden_PD: Tensor, labels_P: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean nats of the positions with a label (with a graph); nats, and whether the likeliest is right, (P,)."""
    assert head.bias is None
    wanted = (False, False)
    if torch.is_grad_enabled():
        wanted = (hidden_PD.requires_grad, head.weight.requires_grad)
    mean, loss_P, correct_P = _HeadLoss.apply(hidden_PD, head.weight, labels_P, wanted)
    return mean, loss_P, correct_P


class _HeadLoss(torch.autograd.Function):
    """Takes the gradient of each piece while its logits are there, so that P x V of them never are.

    d mean / d logit[p, v] = (softmax(logits[p])[v] - [v is p's label]) / scored positions

    wanted: whether the hidden vectors and the head's weight need a gradient; a frozen head's is not computed.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_PD: Tensor, weight_VD: Tensor, labels_P: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        positions, vocab = labels_P.shape[0], weight_VD.shape[0]
        rows = max(FEWEST_ROWS, PIECE.get(hidden_PD.device.type, PIECE["cuda"]) // vocab)
        scored_P = labels_P != IGNORE
        share_P = scored_P / scored_P.sum().clamp(min=1)
        target_P = labels_P.clamp(min=0)
        losses, right, grad_hidden, grad_weight = [], [], [], None
        for start in range(0, positions, rows):
            piece = slice(start, start + rows)
            hidden, target = hidden_PD[piece], target_P[piece, None]
            logits = hidden @ weight_VD.T
            dtype = logits.dtype
            # From here on in place: a new array of this size costs more than the arithmetic on it.
            shifted = logits.to(torch.promote_types(dtype, torch.float32))
            top, likeliest = shifted.max(-1, keepdim=True)
            right.append((likeliest == target)[:, 0] & scored_P[piece])
            of_target = shifted.gather(1, target) - top
            total = shifted.sub_(top).exp_().sum(-1, keepdim=True)
            losses.append((total.log() - of_target)[:, 0] * scored_P[piece])
            if not any(wanted):
                continue
            share = share_P[piece, None].to(shifted.dtype)
            grad = shifted.mul_(share / total).scatter_add_(1, target, -share).to(dtype)
            if wanted[0]:
                grad_hidden.append(grad @ weight_VD.to(dtype))
            if wanted[1]:
                of_piece = grad.T @ hidden.to(dtype)
                grad_weight = of_piece.to(weight_VD.dtype) if grad_weight is None else grad_weight.add_(of_piece)
        loss_P, correct_P = torch.cat(losses), torch.cat(right)
        ctx.save_for_backward(torch.cat(grad_hidden).to(hidden_PD.dtype) if grad_hidden else None, grad_weight)
        ctx.mark_non_differentiable(loss_P, correct_P)
        return (loss_P * share_P).sum(), loss_P, correct_P

    @staticmethod
    def backward(ctx: Any, grad_mean: Tensor, *_: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_hidden, grad_weight = (None if grad is None else grad * grad_mean for grad in ctx.saved_tensors)
        return grad_hidden, grad_weight, None, None

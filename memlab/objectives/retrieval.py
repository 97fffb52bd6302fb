"""Retrieval: memories that find the window a few words were taken from."""

from contextlib import nullcontext

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather
from torch.nn import functional as F

from memlab.errors import UserError
from memlab.models import LanguageModel
from memlab.objectives.base import Objective
from memlab.objectives.layout import EVALUATION, Draw, Layout
from memlab.objectives.scoring import Sums
from memlab.objectives.table import IGNORE, Table


class Retrieval(Objective):
    """InfoNCE over cosines, one encoder for both sides. L = 8, n-grams of 3 (_ blank):

    window x0 x1 x2 x3 x4 x5 x6 x7     query x3 x4 x5 _ _ _ _ _

    A query is drawn from every window of the batch and must find it among all windows (of all ranks, in training).
    loss = cross-entropy of cosine / temperature, in fp32 under autocast, too: at a temperature of 0.02 one rounding of
    bf16 moves a cosine near 1 by 0.2 nats. Its sums count queries where other objectives count tokens.
    Raises UserError for n-grams longer than a chunk and a temperature that is not positive.
    """

    name = "retrieval"
    needs = "retrieve"
    advice = "take encoder=frozen_causal_retrieval"

    def __init__(self, *, blank: int, delimiter: int, ngram: int = 7, temperature: float = 0.02) -> None:
        super().__init__(blank=blank, delimiter=delimiter)
        if ngram < 1 or temperature <= 0:
            raise UserError(f"ngram={ngram}, temperature={temperature}: both must be positive.")
        self.ngram = ngram
        self.temperature = temperature

    def window(self, layout: Layout) -> int:
        if layout.length < self.ngram:
            raise UserError(
                f"n-grams of {self.ngram} tokens do not fit into chunks of {layout.length}: lower objective.ngram."
            )
        return layout.length

    def tables(self, tokens_BT: Tensor, layout: Layout, draw: Draw | None = None) -> list[Table]:
        """Return what is read; no token is scored."""
        self._require_window(tokens_BT, layout)
        inputs = tokens_BT.view(-1, 1, layout.length)
        return [Table(self.name, inputs, torch.full_like(inputs, IGNORE), range(1))]

    def losses(
        self,
        model: LanguageModel,
        tokens_BT: Tensor,
        layout: Layout,
        *,
        draw: Draw | None = None,
        known_BcMD: Tensor | None = None,
        part: slice = slice(None),
    ) -> tuple[Tensor, dict[str, Sums]]:
        self._require_window(tokens_BT, layout)
        queries_BT = self.queries(tokens_BT, (draw or EVALUATION).generator)
        memories_RF = model.make_memories(torch.cat((tokens_BT[part], queries_BT[part]))).flatten(1)
        device = tokens_BT.device.type
        # Operations are counted on the meta device, which has no autocast.
        with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
            loss_R, correct_R = self._search(*memories_RF.chunk(2))
        return loss_R.mean(), {self.name: Sums(loss_R.detach(), correct_R.long(), torch.ones_like(correct_R).long())}

    def _search(self, windows_RF: Tensor, queries_RF: Tensor) -> tuple[Tensor, Tensor]:
        """Return nats of each query, and whether its own window is the nearest, (R,) each."""
        precision = torch.promote_types(windows_RF.dtype, torch.float32)
        windows_RF, queries_RF = (F.normalize(side.to(precision), dim=1) for side in (windows_RF, queries_RF))
        rows, first = len(windows_RF), 0
        # Training shares a batch out; in validation a batch is one rank's.
        if torch.is_grad_enabled() and distributed.is_available() and distributed.is_initialized():
            windows_RF = torch.cat(all_gather(windows_RF))
            first = distributed.get_rank() * rows
        scores_RR = queries_RF @ windows_RF.T / self.temperature
        own_R = torch.arange(first, first + rows, device=scores_RR.device)
        return F.cross_entropy(scores_RR, own_R, reduction="none"), scores_RR.argmax(1) == own_R

    def queries(self, tokens_BT: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return an n-gram of every window at its left, blanks at its right; without a generator at fixed places."""
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        rows, length = tokens_BT.shape
        start = torch.randint(length - self.ngram + 1, (rows, 1), generator=generator, device=generator.device)
        places = start.to(tokens_BT.device) + torch.arange(self.ngram, device=tokens_BT.device)
        queries = torch.full_like(tokens_BT, self.blank)
        queries[:, : self.ngram] = tokens_BT.gather(1, places)
        return queries

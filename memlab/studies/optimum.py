"""What a chunk's memory can hold: a memory for each held-out chunk, optimised against the frozen decoder.

After Y. Kuratov et al., "Cramming 1568 Tokens into a Single Vector and Back Again" (ACL 2025, arXiv 2502.13063), who do
so for the input vectors of language models.
"""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from memlab.errors import UserError
from memlab.measures.base import Measure, Result, Subject
from memlab.models import LanguageModel
from memlab.objectives import IGNORE, Sums, Table
from memlab.objectives.scoring import score

Read = Callable[[Tensor], tuple[Tensor, Sums]]  # floats (R, M, d) -> mean nats per scored token, sums per chunk


class Optimum(Measure):
    """Bits that memories regenerate: the encoder's own, and the best that Adam finds for each chunk by itself.

        bits of a chunk = sum over its scored tokens of (-log2 share(token)) - (nats of the decoder) / ln 2

    share: of the token among all held-out tokens. The first sum is what the tokens cost without a memory, by the best
    predictor that knows nothing of the chunk (`text/bits`); the second one is what they cost with it. So bits are
    the information gain of Kuratov et al., with token frequencies in place of their language model, because a decoder
    of memories alone predicts nothing else without them. The decoder knows what text is like, so the gain is at most
    `text/bits` and may exceed what the memory itself had to say.

    Optimised are the floats that are stored, before a channel (quantisation, say) changes them and before they are
    widened again: what is found can be stored. Each chunk keeps the memory with the least nats on the way, the start
    included. The learning rate falls linearly to 0. Metrics, each over all chunks: of `text/` cross_entropy, bits,
    bits_per_float (the compression); of `encoder/` and `optimum/` token_accuracy, cross_entropy (nats per token), bits
    (per chunk), bits_per_float. Sums per chunk are kept as windows of TABLE/text, TABLE/encoder, TABLE/optimum.

    windows: held-out chunks. steps: of Adam. lr: its rate, in units of the root mean square of the floats that the
        encoder stores for the chunk.
    random_start: begin once more, at N(0, 1) times that root mean square; the result is `optimum_random/`.
    Raises UserError for steps or a rate that are not above 0.
    """

    name = "optimum"

    def __init__(self, *, windows: int, steps: int, lr: float, random_start: bool = False) -> None:
        super().__init__(windows=windows)
        if steps < 1 or not 0 < lr < math.inf:
            raise UserError(f"measure=optimum: steps={steps}, lr={lr}: choose at least 1 step and a rate above 0")
        self.steps = steps
        self.lr = lr
        self.random_start = random_start

    def __call__(self, subject: Subject) -> Result:
        if "regenerate" not in subject.model.can or subject.model.encoder is None:
            return Result()
        found: dict[str, dict[str, list[Sums]]] = {}
        generator = torch.Generator().manual_seed(0)
        nats_V = _unigram(subject)
        with torch.inference_mode(False), torch.enable_grad():
            model = copy.deepcopy(subject.model).requires_grad_(False)
            for tokens_BT in subject.batches(self.windows):
                for table in subject.objective.tables(tokens_BT, subject.layout):
                    of_table = found.setdefault(table.name, {})
                    for name, sums in self._of_table(model, table, subject.objective.shift, nats_V, generator).items():
                        of_table.setdefault(name, []).append(sums)
        joined = {table: {name: _joined(parts) for name, parts in of.items()} for table, of in found.items()}
        floats = subject.model.memory_floats
        return Result(
            metrics={
                table: {
                    f"{name}/{key}": value
                    for name, sums in of.items()
                    for key, value in _metrics(sums, of["text"], floats, name != "text").items()
                }
                for table, of in joined.items()
            },
            windows={
                f"{table}/{name}": {
                    "loss": sums.loss_R.tolist(),
                    "correct": sums.correct_R.tolist(),
                    "count": sums.count_R.tolist(),
                }
                for table, of in joined.items()
                for name, sums in of.items()
            },
        )

    def _of_table(
        self, model: LanguageModel, table: Table, shift: int, nats_V: Tensor, generator: torch.Generator
    ) -> dict[str, Sums]:
        """Return the sums per chunk without a memory, with the encoder's, and with the optimised ones."""
        encoder = model.encoder
        assert encoder is not None
        read = model.reads(table.scored)
        chunks_BcL = table.inputs_BCL[:, read.start : read.stop]

        start_RMd = encoder.store(chunks_BcL.flatten(0, 1))
        size_R11 = start_RMd.square().mean((1, 2), keepdim=True).sqrt()
        size_R11 = size_R11.masked_fill(size_R11 == 0, 1)

        def with_memories(scaled_RMd: Tensor) -> tuple[Tensor, Sums]:
            memories_BcMD = encoder.recall(scaled_RMd * size_R11).unflatten(0, chunks_BcL.shape[:2])
            return score(model.head, model.hidden(table.inputs_BCL, table.scored, memories_BcMD), table, shift)

        of_encoder, optimum = self._descend(with_memories, start_RMd / size_R11)
        labels_BnL = table.labels_BCL[:, table.scored.start : table.scored.stop, shift:]
        nats_BnL = nats_V.to(labels_BnL.device)[labels_BnL.clamp(min=0)].masked_fill(labels_BnL == IGNORE, 0)
        nats_R = nats_BnL.flatten(1).sum(1)
        found = {"text": Sums(nats_R, torch.zeros_like(of_encoder.correct_R), of_encoder.count_R)}
        found |= {"encoder": of_encoder, "optimum": optimum}
        if self.random_start:
            noise_RMd = torch.randn(start_RMd.shape, generator=generator).to(start_RMd)
            found["optimum_random"] = self._descend(with_memories, noise_RMd)[1]
        return found

    def _descend(self, read: Read, start_RMd: Tensor) -> tuple[Sums, Sums]:
        """Return the sums of each row at the start, and those with the least nats on Adam's way from there."""
        scaled_RMd = start_RMd.detach().clone().requires_grad_()
        adam = torch.optim.Adam([scaled_RMd], lr=self.lr)
        mean, start = read(scaled_RMd)
        best = start
        for step in range(self.steps):
            adam.param_groups[0]["lr"] = self.lr * (1 - step / self.steps)
            # The sum, so that a row's gradient does not depend on how many rows there are.
            (scaled_RMd.grad,) = torch.autograd.grad(mean * start.count_R.sum(), scaled_RMd)
            adam.step()
            mean, now = read(scaled_RMd)
            better = now.loss_R < best.loss_R
            best = Sums(
                torch.where(better, now.loss_R, best.loss_R),
                torch.where(better, now.correct_R, best.correct_R),
                best.count_R,
            )
        return start, best


def _unigram(subject: Subject) -> Tensor:
    """Return the nats of each token by its share of the held-out tokens, (V,); padding has no share."""
    counts_V = np.bincount(subject.text.tokens("val"), minlength=subject.model.vocab)
    counts_V[subject.text.blank] = 0
    shares_V = torch.from_numpy(counts_V / counts_V.sum())
    return -torch.log(shares_V)  # no scored token has a share of 0


def _joined(parts: list[Sums]) -> Sums:
    return Sums(
        *(
            torch.cat([getattr(part, name).cpu().double() for part in parts])
            for name in ("loss_R", "correct_R", "count_R")
        )
    )


def _metrics(sums: Sums, text: Sums, floats: int, memory: bool) -> dict[str, float]:
    """Return the metrics of one way to read chunks; memory: False for the text without one."""
    nats, count = sums.loss_R.sum().item(), sums.count_R.sum().item()
    gained = text.loss_R.sum().item() - nats if memory else nats
    bits = gained / math.log(2) / len(sums.loss_R)
    found = {"cross_entropy": nats / count, "bits": bits, "bits_per_float": bits / floats}
    return ({"token_accuracy": sums.correct_R.sum().item() / count} if memory else {}) | found

"""Loss and accuracy of an objective's tables, teacher-forced."""

from typing import Any

import torch
from torch import Tensor

from memlab.measures.base import Measure, Result, Subject
from memlab.measures.metrics import BitsPerByte, TableMetrics

COUNTED = ("loss", "correct", "count")  # nats, right tokens and tokens


class Score(Measure):
    """Cross-entropy (nats), token accuracy and entropy ratio; bits per byte where the scored tokens are text.

    bits_per_byte_with_memory also pays for the stored memories: a scored token pays 1/L of its chunk's memory.
    Sums per window, and per place in the chunk: "loss" (nats), "correct" and "count" (tokens).
    """

    name = "score"

    def __call__(self, subject: Subject) -> Result:
        sums: dict[str, dict[str, list[Tensor]]] = {}
        by_place: dict[str, Tensor] = {}
        for tokens_BT in subject.batches(self.windows):
            _, of_batch = subject.objective.losses(subject.model, tokens_BT, subject.layout)
            for table in subject.objective.tables(tokens_BT, subject.layout):
                scored = of_batch[table.name]
                values = dict(zip(COUNTED, (scored.loss_R, scored.correct_R, scored.count_R), strict=True))
                values["bytes"] = subject.scored_bytes(table.labels_BCL)
                if scored.by_place_3L is not None:
                    before = by_place.get(table.name, 0)
                    by_place[table.name] = before + scored.by_place_3L.cpu().double()
                of_table = sums.setdefault(table.name, {name: [] for name in values})
                for name, value in values.items():
                    of_table[name].append(value.cpu())
        joined = {table: {name: torch.cat(parts) for name, parts in of.items()} for table, of in sums.items()}
        return Result(
            metrics={table: _metrics(of, subject) for table, of in joined.items()},
            windows={table: {name: of[name].tolist() for name in COUNTED} for table, of in joined.items()},
            places={table: dict(zip(COUNTED, of_3L.tolist(), strict=True)) for table, of_3L in by_place.items()},
        )


def _metrics(sums: dict[str, Tensor], subject: Subject) -> dict[str, Any]:
    alone: dict[str, Any] = {"sync_on_compute": False}  # other ranks, if there are any, do not measure
    table = TableMetrics(subject.model.vocab, **alone)
    table.update(**{name: sums[name] for name in COUNTED})
    values: dict[str, Any] = table.compute()
    if not sums["bytes"].any():
        return values  # what is scored is not text
    bits = BitsPerByte(**alone)
    bits.update(sums["loss"], sums["bytes"])
    values["bits_per_byte"] = bits.compute().item()
    if subject.model.memory_floats:
        chunks = sums["count"].sum().item() / subject.layout.length
        stored = chunks * subject.model.memory_floats * subject.model.float_bits
        bits.update(torch.zeros(1), torch.zeros(1), stored_bits=stored)
        values["bits_per_byte_with_memory"] = bits.compute().item()
    return values

"""Every distinct chunk of a batch is embedded once, all of them in one encoder call (shapes: see base.py)."""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from memlab.models.base import LanguageModel
from memlab.objectives.table import BLANKS, Table


def memories_of(model: LanguageModel, tables: Sequence[Table], known_BcMD: Tensor | None = None) -> list[Tensor | None]:
    """Memories (B, scored.stop - 1, M, D) that each table's passes read; None for models that read none.

    known: memories of the window's first c chunks, where they were embedded before.
    """
    if not model.reads_memories:
        return [None] * len(tables)
    read = [_contents(table, place) for place, table in enumerate(tables)]
    found: dict[Hashable, Tensor] = {} if known_BcMD is None else dict(enumerate(known_BcMD.unbind(1)))
    new: dict[Hashable, Tensor] = {}
    for table, contents in zip(tables, read, strict=True):
        for chunk, content in enumerate(contents):
            if content not in found:
                rows = 1 if content == BLANKS else None
                new.setdefault(content, table.inputs_BCL[:rows, chunk])
    if new:
        embedded = model.embed(torch.cat(list(new.values())))
        found.update(zip(new, embedded.split([len(rows) for rows in new.values()]), strict=True))
    batch = len(tables[0].inputs_BCL)
    return [
        torch.stack([found[content].expand(batch, -1, -1) for content in contents], dim=1) if contents else None
        for contents in read
    ]


def _contents(table: Table, place: int) -> list[Hashable]:
    """Names of what stands in the chunks before the last scored one: equal names, equal tokens."""
    named = table.content or (None,) * (table.scored.stop - 1)
    return [(place, c) if named[c] is None else named[c] for c in range(table.scored.stop - 1)]

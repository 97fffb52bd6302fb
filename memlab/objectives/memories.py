"""Every distinct chunk of a batch is embedded once, all of them in one encoder call (shapes: see base.py)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from memlab.models import LanguageModel
from memlab.objectives.table import BLANKS, Table, window_chunks


def memories_of(model: LanguageModel, tables: Sequence[Table], known_BcMD: Tensor | None = None) -> list[Tensor | None]:
    """Return the memories (B, c, M, D) that each table's passes read; None for passes that read none.

    known_BcMD: memories of the window's first c chunks, where they were made before.
    """
    read = [names_read(model, table) for table in tables]
    found: dict[str, Tensor] = {}
    if known_BcMD is not None:
        found.update(zip(window_chunks(known_BcMD.shape[1]), known_BcMD.unbind(1), strict=True))
    new: dict[str, Tensor] = {}
    for table, names in zip(tables, read, strict=True):
        for chunk, name in names.items():
            if name not in found:
                new.setdefault(name, table.inputs_BCL[: 1 if name == BLANKS else None, chunk])
    if new:
        made = model.make_memories(torch.cat(list(new.values())))
        found.update(zip(new, made.split([len(chunks) for chunks in new.values()]), strict=True))
    batch = len(tables[0].inputs_BCL)
    return [
        torch.stack([found[name].expand(batch, -1, -1) for name in names.values()], dim=1) if names else None
        for names in read
    ]


def names_read(model: LanguageModel, table: Table) -> dict[int, str]:
    """Return the name of the content of each chunk whose memories the table's passes read."""
    return {
        chunk: table.content[chunk] if table.content else f"{table.name} {chunk}" for chunk in model.reads(table.scored)
    }

"""What a model reads out of memories alone (shapes: see context.py)."""

import torch

from memlab.models import LanguageModel
from memlab.use.memories import Memories


@torch.no_grad()
def regenerate(model: LanguageModel, memories: Memories, blank: int, batch: int) -> list[list[int]]:
    """Return the real tokens of each chunk as a regenerating model reads them, `batch` chunks at a time."""
    device, ids = model.head.weight.device, []
    for vectors_RMD in memories.vectors.split(batch):
        blanks_R1L = torch.full((len(vectors_RMD), 1, model.length), blank, device=device)
        hidden_R1LD = model.hidden(blanks_R1L, range(1), vectors_RMD[:, None].to(device))
        ids += model.head(hidden_R1LD)[:, 0].argmax(-1).tolist()
    return [row[:count] for row, count in zip(ids, memories.counts, strict=True)]

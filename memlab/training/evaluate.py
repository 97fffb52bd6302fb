"""A finished model on held-out windows: sums of every window, the metrics they make, texts to look at."""

from typing import Any

import torch
from lightning import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from memlab.data.prepare import Prepared
from memlab.measures.metrics import BitsPerByte, Capacity, TableMetrics, TokenAccuracy
from memlab.models import Autoencoder, MemoryModel
from memlab.models.base import chunks_at
from memlab.objectives import IGNORE
from memlab.training.module import StageModule

SAMPLES = 8
WindowSums = dict[str, Tensor]  # "loss", "correct", "count", "bytes", each (R,); "free_correct", "free_count" of fewer


def evaluate(trainer: Trainer, module: StageModule, loader: DataLoader[Tensor], vocab: int) -> dict[str, Any]:
    """{"metrics", "windows"}, both by the name of the objective's table."""
    batches: Any = trainer.predict(module, loader)
    tables: dict[str, WindowSums] = {
        name: {key: torch.cat([b[name][key].cpu() for b in batches if key in b[name]]) for key in sums}
        for name, sums in batches[0].items()
    }
    return {
        "metrics": {name: _metrics(sums, module, vocab) for name, sums in tables.items()},
        "windows": {
            name: {
                key: sums[key].double().tolist() if key == "loss" else sums[key].tolist()
                for key in ("correct", "count", "loss")
            }
            for name, sums in tables.items()
        },
    }


def unnested(result: dict[str, Any]) -> dict[str, Any]:
    """The same without the table's name, where there is one table only."""
    if len(result["metrics"]) > 1:
        return result
    return {key: next(iter(by_table.values())) for key, by_table in result.items()}


def _metrics(sums: WindowSums, module: StageModule, vocab: int) -> dict[str, Any]:
    alone: dict[str, Any] = {"sync_on_compute": False}  # other ranks, if there are any, do not evaluate
    table = TableMetrics(vocab, **alone)
    table.update(sums["loss"], sums["correct"], sums["count"])
    values: dict[str, Any] = table.compute()
    if "free_count" in sums:
        free = TokenAccuracy(**alone)
        free.update(sums["free_correct"], sums["free_count"])
        values["free_running_token_accuracy"] = free.compute().item()
    if not sums["bytes"].any():
        return values  # what is scored is not text
    bits = BitsPerByte(**alone)
    bits.update(sums["loss"], sums["bytes"])
    values["bits_per_byte"] = bits.compute().item()
    capacity = _capacity(module)
    if capacity is not None:
        capacity.update(sums["bytes"], sums["count"])
        values["capacity"] = capacity.compute()
        chunks = sums["count"].sum().item() / capacity.chunk_length
        bits.update(torch.zeros(1), torch.zeros(1), stored_bits=chunks * values["capacity"]["memory_bits"])
        values["bits_per_byte_with_memory"] = bits.compute().item()
    return values


def _capacity(module: StageModule) -> Capacity | None:
    """None for models without memories."""
    model = module.model
    if not isinstance(model, MemoryModel | Autoencoder) or model.encoder is None:
        return None
    encoder = model.encoder
    return Capacity(
        memory_floats=encoder.memory_floats,
        chunk_length=module.layout["length"],
        vectors=encoder.memories,
        sync_on_compute=False,
    )


def parameter_counts(module: StageModule) -> dict[str, int]:
    """Parameters, trained parameters, and floats stored per chunk of memory."""
    parameters = list(module.model.parameters())
    capacity = _capacity(module)
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trained_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "memory_floats_per_chunk": capacity.memory_floats if capacity is not None else 0,
    }


@torch.no_grad()
def reconstructions(module: StageModule, tokens_BT: Tensor, prepared: Prepared) -> list[dict[str, str]]:
    """{"text", "regenerated"} of each window: what was scored, and the likeliest token at each of its places.

    Teacher-forced; at a place that is not scored (a chunk's first) both show what the model was given.
    """
    module.eval()
    tables = module.objective.tables(tokens_BT.to(module.device), **module.layout)
    table, shift = tables[-1], module.objective.shift
    labels_BnL = chunks_at(table.labels_BCL, table.scored)
    given_BnL = chunks_at(table.inputs_BCL, table.scored)
    predicted_BnL = module.model(table.inputs_BCL, table.scored).argmax(-1)
    if shift:
        predicted_BnL = torch.cat((given_BnL[:, :, :shift], predicted_BnL[:, :, :-shift]), dim=2)
    scored = labels_BnL != IGNORE
    texts = torch.where(scored, labels_BnL, given_BnL).flatten(1).tolist()
    regenerated = torch.where(scored, predicted_BnL, given_BnL).flatten(1).tolist()
    return [
        {"text": prepared.decode(text), "regenerated": prepared.decode(guess)}
        for text, guess in zip(texts, regenerated, strict=True)
    ]

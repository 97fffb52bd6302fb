"""What is measured: sizes, models, objectives, and where memories come from; without torch."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

ARCHITECTURES = ("mixer", "transformer")
OBJECTIVES = ("clm", "copy", "blank_copy", "combined", "autoencode")
ENCODERS = ("trainable", "frozen", "frozen_cached", "none")
PHASES = ("forward", "forward_backward", "step", "evaluate")


@dataclass(frozen=True)
class Size:
    """Sizes of models and batches; encoders are headed mixers or transformers of the decoder's width."""

    width: int = 256
    layers: int = 4
    heads: int = 4
    length: int = 128
    chunks: int = 4
    vocab: int = 8000
    batch: int = 8


@dataclass(frozen=True)
class Case:
    """model: memory, full_context, recurrent or autoencoder; autocast: bfloat16 or none."""

    size: Size
    architecture: str
    objective: str
    encoder: str
    model: str = "memory"
    device: str = "cpu"
    autocast: bool = False
    compile: bool = False

    @property
    def name(self) -> str:
        return f"{self.architecture} {self.model} {self.objective} {self.encoder}"

    @property
    def row(self) -> dict[str, Any]:
        """Return the columns that tell cases apart."""
        values = asdict(self)
        return {**values.pop("size"), **values}


def all_cases(
    sizes: list[Size], architectures: list[str], objectives: list[str], encoders: list[str]
) -> Iterator[Case]:
    """Yield the cases that exist: autoencoders train their encoder, controls have none."""
    for size, architecture, objective in product(sizes, architectures, objectives):
        if objective == "autoencode":
            if "trainable" in encoders:
                yield Case(replace(size, chunks=1), architecture, objective, "trainable", "autoencoder")
            continue
        for encoder in encoders:
            yield Case(size, architecture, objective, encoder)
        if "none" in encoders:
            for model in ("full_context", "recurrent"):
                yield Case(size, architecture, objective, "none", model)

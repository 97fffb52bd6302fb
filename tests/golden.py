"""Golden losses: the first AdamW steps of every kind of tiny model on every objective, in tests/assets/losses/.

`python -m tests.golden` writes them anew. Do that only for a change that is meant, and raise WEIGHTS_VERSION with it,
so that finished runs of the old code are not taken for runs of the new.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from memlab.models import LanguageModel
from memlab.objectives import (
    Autoencode,
    BlankCopy,
    CausalLanguageModelling,
    Combined,
    Copy,
    Draw,
    Layout,
    Objective,
    Retrieval,
)
from tests import tiny

FOLDER = Path(__file__).parent / "assets" / "losses"
STEPS = 5
LAYOUT = Layout(tiny.CHUNKS, tiny.LENGTH)
IDS = {"blank": 0, "delimiter": 1}
CLM, COPY, BLANK, COMBINED = CausalLanguageModelling(**IDS), Copy(**IDS), BlankCopy(**IDS), Combined(**IDS)
MODELS: dict[str, tuple[Callable[[str], LanguageModel], dict[str, Objective]]] = {
    "causal_lm": (tiny.causal_lm, {"clm": CLM, "copy": COPY, "combined": COMBINED}),
    "recurrent": (tiny.recurrent, {"clm": CLM, "copy": COPY}),
    "autoencoder": (tiny.autoencoder, {"autoencode": Autoencode(**IDS)}),
    "autoencoder-repeat": (
        partial(tiny.autoencoder, memories=2, repeat=True, compression=2, taps=3),
        {"autoencode": Autoencode(**IDS)},
    ),
    "chunk_encoder": (tiny.chunk_encoder, {"retrieval": Retrieval(**IDS, ngram=3, temperature=0.5)}),
    "memory_model": (tiny.memory_model, {"clm": CLM, "copy": COPY, "blank_copy": BLANK, "combined": COMBINED}),
    "memory_model-hand_over": (tiny.memory_model, {"copy": Copy(**IDS, hand_over=1.0, delimiter_tokens=True)}),
    "memory_model-variable": (partial(tiny.memory_model, slots="variable", memories=2), {"combined": COMBINED}),
    "memory_model-narrow": (partial(tiny.memory_model, encoder_width=8, skip=1, read_layers=1), {"clm": CLM}),
    "memory_model-mixer_encoder": (partial(tiny.memory_model, encoder_kind="mixer", taps=2), {"copy": COPY}),
    "memory_model-no_encoder": (partial(tiny.memory_model, with_encoder=False), {"clm": CLM}),
}
CASES = [(model, objective) for model, (_, objectives) in MODELS.items() for objective in objectives]


def path(kind: str) -> Path:
    return FOLDER / f"{kind}.txt"


def read(kind: str) -> dict[tuple[str, str], list[float]]:
    """Return the recorded losses by model and objective."""
    rows = (line.split() for line in path(kind).read_text().splitlines())
    return {(model, objective): [float(loss) for loss in losses] for model, objective, *losses in rows}


def train(kind: str, model_name: str, objective_name: str) -> list[float]:
    """Return the losses in nats before each of the steps, on one fixed batch.

    In fp64, so that the order of sums, which differs between processors, does not show.
    """
    torch.manual_seed(0)
    build, objectives = MODELS[model_name]
    model, objective = build(kind).double(), objectives[objective_name]
    tokens = torch.randint(2, tiny.VOCAB, (4, objective.window(LAYOUT)))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        draw = Draw(step / STEPS, torch.Generator().manual_seed(step))
        loss, _ = objective.losses(model, tokens, LAYOUT, draw=draw)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def write() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for kind in tiny.STACKS:
        rows = (" ".join([*case, *(f"{loss:.9f}" for loss in train(kind, *case))]) for case in CASES)
        path(kind).write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    write()

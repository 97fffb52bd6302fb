"""Golden losses: the first AdamW steps of every tiny model on every objective, in tests/assets/losses/.

`python -m tests.golden` writes them anew. Do that only for a change that is meant, and raise WEIGHTS_VERSION in
memlab/config/fingerprint.py with it, so that finished runs of the old code are not taken for runs of the new.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from memlab.models import LanguageModel
from memlab.objectives import Autoencode, BlankCopy, CausalLanguageModelling, Combined, Copy, Objective
from tests import tiny

FOLDER = Path(__file__).parent / "assets" / "losses"
STEPS = 5
IDS = {"blank": 0, "delimiter": 1}
MODELS: dict[str, tuple[Callable[[str], LanguageModel], tuple[type[Objective], ...]]] = {
    "causal_lm": (tiny.causal_lm, (CausalLanguageModelling, Copy, Combined)),
    "autoencoder": (tiny.autoencoder, (Autoencode,)),
    "memory_model": (tiny.memory_model, (CausalLanguageModelling, Copy, BlankCopy, Combined)),
}
CASES = [(kind, model, objective) for kind in tiny.KINDS for model, (_, fits) in MODELS.items() for objective in fits]


def path(kind: str, model: str, objective: type[Objective]) -> Path:
    return FOLDER / f"{kind}-{model}-{objective.name}.txt"


def train(kind: str, model_name: str, objective_class: type[Objective]) -> list[float]:
    """Losses in nats before each of the steps, on one fixed batch."""
    torch.manual_seed(0)
    model = MODELS[model_name][0](kind)
    objective = objective_class(**IDS)
    tokens = torch.randint(2, tiny.VOCAB, (4, objective.window(tiny.CHUNKS, tiny.LENGTH)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        loss, _ = objective.losses(model, tokens, chunks=tiny.CHUNKS, length=tiny.LENGTH)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        path(*case).write_text("".join(f"{loss:.9f}\n" for loss in train(*case)))

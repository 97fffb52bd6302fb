"""Golden runs: 20 steps of every kind of model by the command's own code, their losses in tests/assets/runs/.

They guard what a fingerprint promises: that what was chosen, and WEIGHTS_VERSION, tell a finished run's weights.
`python -m tests.golden` writes all files anew. Do that only for a change that is meant, and raise WEIGHTS_VERSION in
memlab/config/stage.py with it, so that finished runs of the old code are not taken for runs of the new. (Tokens have
their own test, tests/data/test_prepare.py, and their own DATA_VERSION.)
"""

import tempfile
from pathlib import Path

import torch

from memlab.config.compose import compose_sweep
from memlab.config.plan import plan
from memlab.training.chain import run_chain
from memlab.training.estimate import Workload
from tests.conftest import smoke, write_corpus

FOLDER = Path(__file__).parent / "assets" / "runs"
STEPS = 20
COMMON = (
    "scale.width=16", "scale.layers=2", "trainer.batch_size=4", "trainer.log_every=1", "trainer.validate_every=1000",
    "trainer.validate_windows=1", "trainer.evaluate_windows=1", "trainer.free_running_windows=1",
    "trainer.checkpoint_every=1000", "schedule.warmup=2", "trainer.clip=0.5", "trainer.accelerator=cpu",
    # Double precision: what remains between two machines is the rounding of the first weights, drawn in fp32.
    "trainer.precision=64-true",
)  # fmt: skip
BOTH = ("mixer", "transformer")
CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # name: (architectures, what to type)
    "trainable-clm": ((*BOTH, "mixer_transformer", "transformer_mixer"), ("objective=clm",)),
    "trainable-combined": (BOTH, ("objective=combined", "trainer.accumulate=2", "objective.copy_weight=0.25")),
    "none-copy": (BOTH, ("encoder=none", "objective=copy", "objective.delimiter_tokens=true", "schedule=constant")),
    "autoencoder-copy": (BOTH, ("encoder=frozen_autoencoder", "objective=copy", "trainer.clip=null")),
    "causal-blank_copy": (BOTH, ("encoder=frozen_causal", "objective=blank_copy")),
    "retrieval": (BOTH, ("encoder=frozen_causal_retrieval", "curriculum=none")),
    "fresh_embedding": (BOTH, ("encoder=frozen_autoencoder", "objective=copy", "encoder.freeze=blocks")),
    "probe-repeat": (BOTH, ("encoder=frozen_autoencoder", "curriculum=probe", "bridge@architecture.bridge=repeat")),
    "full_context": (BOTH, ("encoder=none", "objective=clm", "model@curriculum.stages.main.model=full_context")),
    "recurrent": (
        BOTH,
        (
            "encoder=none",
            "objective=clm",
            "model@curriculum.stages.main.model=recurrent",
            "architecture.detach_every=2",
        ),
    ),
    "curriculum": (BOTH, ("curriculum=blank_then_copy",)),
    "variable_slots": (BOTH, ("objective=copy", "architecture.slots=variable", "architecture.memories=2")),
    "memories-compression": (
        BOTH,
        (
            "encoder=frozen_autoencoder",
            "objective=blank_copy",
            "architecture.memories=2",
            "architecture.compression=4",
            "architecture.encoder.stack.width=32",
        ),
    ),
    "oracle-token": (BOTH, ("objective=clm", "model@curriculum.stages.main.model=oracle")),
    "oracle-features-quantised": (
        BOTH,
        (
            "objective=clm",
            "model@curriculum.stages.main.model=oracle",
            "curriculum.stages.main.model.way=features",
            "architecture.compression=4",
            "channel@architecture.channel=quantise",
            "architecture.channel.bits=4",
        ),
    ),
    "taps": (("mixer",), ("objective=clm", "scale.taps=3", "scale.heads=2", "scale.embedding_std=1.0")),
    "read_layers": (BOTH, ("objective=copy", "architecture.encoder.read_layers=1", "encoder.skip=1")),
    "padded": (BOTH, ("objective=combined", "data.windows=padded", "data.max_bytes=100000")),
}
RUNS = [(name, architecture) for name, (architectures, _) in CASES.items() for architecture in architectures]


def path(name: str, architecture: str) -> Path:
    return FOLDER / f"{name}-{architecture}.txt"


def losses(name: str, architecture: str, corpus: Path, runs: Path) -> list[str]:
    """Train a case; return one line per step of every stage: stage, step, nats per token of each table."""
    given = [*smoke(corpus, runs), f"architecture={architecture}", *COMMON, *CASES[name][1]]
    (config,) = compose_sweep(given).configs
    jobs = plan(config).jobs
    run_chain(jobs, Workload())
    lines = []
    for job in jobs:
        for row in job.folder.read_metrics():
            nats = [f"{row[key]:.15f}" for key in row if key.startswith("train/") and key.endswith("cross_entropy")]
            if nats:
                lines.append(" ".join([job.stage.name, str(row["step"]), *nats]))
    assert len(lines) == STEPS * len(jobs)
    return lines


def main() -> None:
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        corpus, runs = Path(name, "corpus"), Path(name, "runs")
        write_corpus(corpus)
        for run in RUNS:
            path(*run).write_text("\n".join(losses(*run, corpus, runs)) + "\n")


if __name__ == "__main__":
    main()

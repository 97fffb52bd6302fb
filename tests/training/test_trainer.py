"""Every option steps through the real Trainer: clipping, accumulation, schedule, validation, checkpoints and measures.

On a CPU, in fp32 and in mixed bf16. What a Trainer asks for beyond that (CUDA, nccl) is the options' only difference.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import DDPStrategy

from memlab.config import paths
from memlab.config.compose import compose_sweep
from memlab.config.plan import plan
from memlab.config.stage import Job
from memlab.models import Block
from memlab.training.build import build_stage
from memlab.training.chain import run_chain
from memlab.training.checkpoint import SealedCheckpointIO
from memlab.training.estimate import Workload
from memlab.training.sharded import ShardedStrategy
from memlab.training.trainer import make_trainer
from tests.conftest import smoke
from tests.training.chains import Killed, before_batch, kill, rows

ROOT = paths.conf().parent
GROUPS = (
    "optimizer", "schedule", "encoder", "curriculum", "objective", "model", "bridge", "stack", "measure", "logger",
)  # fmt: skip
TINY = (
    "scale.stages={autoencoder: {steps: 3}, causal: {steps: 3}, memory: {steps: 3}}", "scale.width=8",
    "trainer.accelerator=cpu", "trainer.workers=0", "trainer.compile=false", "trainer.accumulate=2", "trainer.clip=0.5",
    "trainer.batch_size=4", "trainer.log_every=1", "trainer.validate_every=2", "trainer.validate_windows=4",
    "trainer.checkpoint_every=2", "trainer.evaluate_windows=4", "trainer.free_running_windows=4",
    "schedule.warmup=1", "logger=none", "scale.matched_width=4",
)  # fmt: skip
# What an option makes sense with.
NEEDS = {
    "objective=autoencode": ("model@curriculum.stages.main.model=autoencoder",),
    "objective=retrieval": ("model@curriculum.stages.main.model=chunk_encoder",),
    "model=autoencoder": ("objective=autoencode",),
    "model=chunk_encoder": ("objective=retrieval",),
    "model=causal": ("objective=clm",),
    "model=oracle": ("objective=clm",),
    "model=memory_pretrained": ("objective=copy", "tokenizer=pretrained"),
    "curriculum=none": ("encoder=frozen_autoencoder",),
    "bridge=": ("encoder=frozen_autoencoder",),
    "stack=transformer": ("architecture=transformer",),
}
PLACES = {
    "model": "curriculum.stages.main.model",
    "bridge": "architecture.bridge",
    "stack": "architecture.decoder.stack",
    "measure": "evaluation.measures.own",
}


def options(group: str) -> list[str]:
    names = sorted(path.stem for path in (paths.conf() / group).glob("[!_]*.yaml"))
    return [f"{group}={name}" for name in names if name not in ("wandb_online", "from_run")]


def arguments(option: str) -> list[str]:
    """Return what to type for an option: where it stands, and what it needs."""
    group, _, name = option.partition("=")
    plus = "+" if group == "measure" else ""
    own = f"{plus}{group}@{PLACES[group]}={name}" if group in PLACES else option
    needed = [line for start, lines in NEEDS.items() if option.startswith(start) for line in lines]
    return [*needed, own]


@pytest.fixture
def run(corpus: Path, runs: Path, tiny_models: list[str]) -> Any:
    """run(*overrides): finish every stage of one point; return the jobs. All points share their first stages."""

    def finish(*overrides: str) -> list[Job]:
        (config,) = compose_sweep([*smoke(corpus, runs), *TINY, *tiny_models, *overrides]).configs
        jobs = list(plan(config).jobs)
        run_chain(jobs, Workload())
        return jobs

    return finish


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("option", [option for group in GROUPS for option in options(group)])
def test_every_option_steps(run: Any, option: str, precision: str) -> None:
    jobs = run(*arguments(option), f"trainer.precision={precision}")
    for job in jobs:
        assert job.done
        found = rows(job)
        trained = [row for row in found if "lr" in row]
        assert [row["step"] for row in trained] == [1, 2, 3]
        assert [row["step"] for row in found if row not in trained] == [2]
        losses = [value for row in found for key, value in row.items() if key.endswith("cross_entropy")]
        assert len(losses) >= 4 and all(0 < loss < 20 for loss in losses)


# What differs from a machine with GPUs; everything else of the option stays: precision, fused optimizer, clipping.
ON_A_CPU = ("trainer.accelerator=cpu", "trainer.workers=0", "trainer.compile=false", "trainer.devices=1")


@pytest.mark.parametrize("precision", [None, "32-true", "bf16-mixed"], ids=str)
@pytest.mark.parametrize("option", ["trainer=default", "trainer=gpu", "trainer=ddp", "trainer=cpu_ddp"])
def test_every_trainer_steps(run: Any, option: str, precision: str | None) -> None:
    """None: the precision of the option itself. Several processes: tests/processes/test_ranks.py and below."""
    own = [] if precision is None else [f"trainer.precision={precision}"]
    (job,) = run(option, *ON_A_CPU, *own, "trainer.matmul_precision=highest", "objective=combined")
    assert job.done and job.stage.training["clip"] == 0.5 and job.stage.training["optimizer"]["fused"]
    expected = precision or {"trainer=gpu": "bf16-mixed", "trainer=ddp": "bf16-mixed"}.get(option, "32-true")
    assert job.stage.training["precision"] == expected


@pytest.mark.parametrize(("precision", "plugin"), [("32-true", Precision), ("bf16-mixed", MixedPrecision)])
def test_the_precision_is_the_one_asked_for(chain: Any, precision: str, plugin: type) -> None:
    (job,) = chain(f"trainer.precision={precision}", "trainer.accelerator=cpu")
    trainer = make_trainer(job, [])
    assert type(trainer.precision_plugin) is plugin and trainer.precision == precision
    assert trainer.gradient_clip_val == 1.0 and trainer.max_steps == 20


def test_strategies_of_several_devices(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (several,) = chain("trainer=cpu_ddp")
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    strategy = make_trainer(several, []).strategy
    assert isinstance(strategy, DDPStrategy) and strategy._process_group_backend == "gloo"
    (sharded,) = chain("trainer=fsdp", "trainer.accelerator=cpu")
    strategy = make_trainer(sharded, []).strategy
    assert isinstance(strategy, ShardedStrategy)
    assert {*strategy.kwargs["auto_wrap_policy"]._module_classes} == {Block}


def test_clipping_bounds_the_step(run: Any, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In mixed precision with a fused optimizer, which Lightning refuses to clip."""
    norms: dict[float, list[float]] = {}
    logged: dict[float, list[dict[str, float]]] = {}
    original = torch.optim.AdamW.step

    def step(self: Any, *given: Any, **more: Any) -> Any:
        loss = given[0]() if given else more["closure"]()  # Lightning clips in the closure
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        norms[clip].append(torch.linalg.vector_norm(torch.stack([grad.norm() for grad in grads])).item())
        original(self, lambda: loss)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    for clip in (0.01, 1000.0):
        norms[clip] = []
        (job,) = run("trainer.precision=bf16-mixed", f"trainer.clip={clip}", "seed=5")
        logged[clip] = [row for row in rows(job) if "lr" in row]
    assert len(norms[0.01]) == len(norms[1000.0]) == 3
    assert all(norm == pytest.approx(0.01, rel=1e-2) for norm in norms[0.01])
    assert all(0.02 < norm < 1000 for norm in norms[1000.0])
    found = {clip: [row["train/gradient_norm"] for row in trained] for clip, trained in logged.items()}
    assert found[1000.0] == pytest.approx(norms[1000.0], rel=1e-3), "the norm before clipping"
    assert found[0.01][0] == pytest.approx(found[1000.0][0], rel=1e-6), "the first step has the same weights"
    assert {row["train/clipped"] for row in logged[0.01]} == {1.0} and {
        row["train/clipped"] for row in logged[1e3]
    } == {0.0}


SHARDED = """
import os, sys
if "RANK" not in os.environ:
    from memlab.processes.spawn import run_ranks
    sys.exit(run_ranks([sys.executable, "-c", os.environ["SCRIPT"], *sys.argv[1:]], 2))
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from memlab.training.sharded import ShardedStrategy

def on_cpu(self, *arguments, **options):
    original(self, *arguments, **{**options, "device_id": torch.device("cpu")})

def end(self):
    units = [type(unit.module).__name__ for unit in FSDP.fsdp_modules(self.model)]
    print(*units, flush=True)
    torch.distributed.barrier()  # the end of one process ends the other
    os._exit(0)

original, FSDP.__init__ = FSDP.__init__, on_cpu
ShardedStrategy.lightning_module_state_dict = end
from memlab.run import main
main()
"""


def number_as_fsdp_does(job: Job) -> None:
    """Number the optimizer's weights in a checkpoint as a run under FSDP leaves them: frozen ones count, too."""
    (path,), io = job.folder.checkpoint_files(), SealedCheckpointIO()
    checkpoint = io.load_checkpoint(path)
    (state,) = checkpoint["optimizer_states"]
    trained = [i for i, weight in enumerate(build_stage(job.stage)[0].parameters()) if weight.requires_grad]
    assert trained[0] > 0
    state["state"] = {trained[number]: of for number, of in state["state"].items()}
    for group in state["param_groups"]:
        group["params"] = [trained[number] for number in group["params"]]
    io.save_checkpoint(checkpoint, path)


def test_sharded_weights_train_as_whole_ones_do(
    chain: Any, corpus: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Two processes (gloo) resume one process's checkpoint under FSDP; losses, clipped steps and validations are alike.

    The frozen encoder's weights, the model's first, have no optimizer state. Three batches of held-out windows cannot
    be shared out evenly. FSDP runs on a CPU if it is told its device, all but gathering whole weights for a file, which
    needs GPUs: the test ends there.
    """
    options = (
        "encoder=untrained", "curriculum=probe", "scale.stages.probe.steps=7", "trainer.batch_size=8",
        "trainer.log_every=1", "trainer.validate_every=7", "trainer.validate_windows=24",
    )  # fmt: skip
    (one,) = chain(*options, runs=tmp_path / "one")
    run_chain([one], Workload())
    (two,) = chain(*options, "trainer.checkpoint_every=4", runs=tmp_path / "two")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        before_batch(patch, 5, kill)
        run_chain([two], Workload())
    assert [path.name for path in two.folder.checkpoint_files()] == ["step-000000004.ckpt"]
    number_as_fsdp_does(two)
    fsdp = ("trainer=fsdp", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.workers=0")
    command = [*smoke(corpus, tmp_path / "two"), *options, *fsdp, "trainer.checkpoint_every=100"]
    result = subprocess.run(
        [sys.executable, "-c", SHARDED, *command],
        env={**environment, "SCRIPT": SHARDED}, check=False, timeout=240, capture_output=True, text=True,
    )  # fmt: skip
    assert result.stdout.count("StageModule Block Block") == 2, result.stderr
    expected, found = (
        [{key: row[key] for key in row if key.endswith(("step", "cross_entropy", "_norm"))} for row in rows(job)]
        for job in (one, two)
    )
    assert len(expected) == len(found) == 8
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)

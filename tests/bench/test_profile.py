"""Where a step's time goes, and how long a sweep takes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from memlab.bench import sweep
from memlab.bench.__main__ import main as bench, sizes_of
from memlab.bench.profile import OBJECTIVES, kind_of, measured
from memlab.config import paths
from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.training.pace import seconds_per_step
from tests.conftest import smoke


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::mm", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::mul", "activations"),
        ("aten::native_layer_norm_backward", "norms"),
        ("aten::_fused_adamw_", "optimizer, clipping"),
        ("aten::copy_", "copies"),
        ("aten::embedding", "other"),
    ],
)
def test_kinds_of_operations(operation: str, kind: str) -> None:
    assert kind_of(operation) == kind


@pytest.mark.parametrize("architecture", ["mixer", "transformer"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_shares_of_a_step_add_up(architecture: str, objective: str, corpus: Path, tmp_path: Path) -> None:
    words = [f"architecture={architecture}", *OBJECTIVES[objective]]
    (chain,) = plan_all(compose_sweep([*smoke(corpus, tmp_path), *words]).configs)
    milliseconds, shares = measured(chain.jobs[-1].stage, steps=2)
    assert milliseconds > 0 and sum(shares.values()) == pytest.approx(1.0)
    assert shares["matrix products"] > 0 and (shares["attention"] > 0) == (architecture == "transformer")


def test_a_step_is_timed_and_leaves_threads_and_the_generator_alone(corpus: Path, tmp_path: Path) -> None:
    import torch

    (chain,) = plan_all(compose_sweep([*smoke(corpus, tmp_path), "trainer.accumulate=2"]).configs)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    assert 0 < seconds_per_step(chain.jobs[0].stage, threads=2, least=0.0) < 60
    assert torch.equal(before, torch.random.get_rng_state()) and torch.get_num_threads() == threads


def test_sizes_of_a_scale() -> None:
    scale = yaml.safe_load((paths.conf() / "scale" / "laptop.yaml").read_text())
    assert sizes_of("laptop") == {
        **{name: scale[name] for name in ("width", "layers", "chunks", "vocab")},
        **{"heads": 4, "length": scale["chunk_length"], "batch": scale["batch_size"]},
    }
    with pytest.raises(SystemExit):
        sizes_of("huge")


def test_the_benchmark_takes_a_scale_and_its_sizes_can_be_changed(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    one = "--architecture mixer --objective copy --encoder none --phase forward --repetitions 1 --no-memory"
    bench([*one.split(), "--scale", "smoke", "--batch", "8", "--threads", "1", "--json", str(rows)])
    row = json.loads(rows.read_text())[0]
    # 8 is also the batch that is measured by default: what was typed counts.
    assert row["batch"] == 8 != sizes_of("smoke")["batch"]
    assert row["length"] == sizes_of("smoke")["length"] and row["threads"] == 1


@pytest.mark.slow
def test_a_sweep_is_timed_by_layout_alone_and_beside_a_busy_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "memlab.bench.sweep", "--repetitions", "1", "--steps", "2", "--scale", "smoke"]
    result = subprocess.run(
        [*command, "--json", "rows.json"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert result.returncode == 0, result.stderr
    seconds = json.loads((tmp_path / "rows.json").read_text())["seconds"]
    assert [*seconds] == [*sweep.layouts()]
    assert all(len(row["alone"]) == len(row["beside"]) == 1 for row in seconds.values())
    assert "points/min" in result.stdout and [path.name for path in tmp_path.iterdir()] == ["rows.json"]


def test_a_command_that_fails_ends_the_measurement_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match="unknown key"):
        sweep.timed(["scale.widht=3"], {})

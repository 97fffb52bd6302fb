"""Metrics that an experiment's figure.py derives from its rows."""

import math
from typing import Any

import pytest

from memlab.report.collect import Row
from memlab.report.writers import figure_module


def run(arm: str, losses: list[float], seed: int = 0, architecture: str = "mixer") -> Row:
    curve: dict[str, Any] = {"steps": [10, 20, 30], "cross_entropy": losses}
    stages = [{"curve": {}}, {"curve": curve}]
    return {"arm": arm, "architecture": architecture, "seed": seed, "cross_entropy": losses[-1], "stages": stages}


def test_the_recovered_share_is_that_of_the_trained_encoder_s_gain() -> None:
    rows = [
        run("no_memory_clm", [5.0, 4.0, 3.0]),
        run("memory", [4.0, 3.0, 2.0]),
        run("frozen_autoencoder_clm", [4.9, 3.5, 2.2]),
        run("frozen_causal_clm", [5.5, 4.0, 3.0]),
        run("frozen_autoencoder_clm", [4.0, 3.0, 2.0], seed=1),
    ]
    none, memory, frozen, causal, alone = figure_module("frozen_recovery").derive(rows)
    assert frozen["recovered_share"] == pytest.approx(0.8) and frozen["recovered_share_early"] == pytest.approx(0.1)
    assert causal["recovered_share"] == pytest.approx(0) and causal["recovered_share_early"] == pytest.approx(-0.5)
    assert frozen["cross_entropy_early"] == 4.9
    assert "recovered_share" not in alone, "its controls have not run with this seed"
    assert "recovered_share" not in none and "recovered_share" not in memory
    assert all(math.isfinite(row["cross_entropy_early"]) for row in (none, memory, causal, alone))


def test_the_accuracy_with_disturbed_memories_is_the_one_that_needs_the_memory() -> None:
    autoencoder = {"token_accuracy": 0.9, "noise_0.5/token_accuracy": 0.5, "bits_4/token_accuracy": 0.7}
    copying = {"token_accuracy": 0.9, "free_running_token_accuracy": 0.8, "noise_1/token_accuracy": 0.5}
    copying["noise_1/free_running_token_accuracy"] = 0.4
    both = {f"copy/{name}": value for name, value in copying.items()}
    both |= {"clm/token_accuracy": 0.3, "clm/noise_1/token_accuracy": 0.2}
    alone, copied, combined = figure_module("robust_memories").derive([autoencoder, copying, both])
    assert alone == autoencoder | {"accuracy": 0.9, "noise_0.5/accuracy": 0.5, "bits_4/accuracy": 0.7}
    assert copied == copying | {"accuracy": 0.8, "noise_1/accuracy": 0.4}
    assert combined == both | {"accuracy": 0.8, "noise_1/accuracy": 0.4}

"""Imports that are left out are there for whoever needs them."""

import subprocess
import sys

CODE = """
import sys
import {room}
assert "torchmetrics" in sys.modules and "scipy.signal" not in sys.modules, "half a second"
import scipy.signal
assert scipy.signal.butter(1, 0.5)[0].shape == (2,)
"""


def run(room: str) -> None:
    subprocess.run([sys.executable, "-c", CODE.format(room=room)], check=True)


def test_training_does_without_scipys_signals() -> None:
    run("memlab.training.chain")


def test_measures_do_without_scipys_signals() -> None:
    run("memlab.measures")

"""Imports that are left out are there for whoever needs them."""

import subprocess
import sys

import pytest

CODE = """
import sys
import {room}
assert "torchmetrics" in sys.modules
assert not {{"scipy.signal", "matplotlib", "transformers"}} & {{*sys.modules}}, "a second"
import scipy.signal
assert scipy.signal.butter(1, 0.5)[0].shape == (2,)
from lightning_utilities.core.imports import RequirementCache
assert RequirementCache("matplotlib>=3.6.0"), "there for everybody else"
"""


@pytest.mark.parametrize("room", ["memlab.training.chain", "memlab.measures"])
def test_torchmetrics_is_loaded_without_what_memlab_does_not_use(room: str) -> None:
    subprocess.run([sys.executable, "-c", CODE.format(room=room)], check=True)

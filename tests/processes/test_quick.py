"""Imports that are left out are there for whoever needs them; garbage is collected as before after a start."""

import gc
import subprocess
import sys

import pytest

from memlab.processes.quick import rare_collections

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


def test_the_collector_is_as_it_was_after_a_start_that_failed() -> None:
    usual, kept = gc.get_threshold(), gc.get_freeze_count()
    try:
        with pytest.raises(RuntimeError), rare_collections():
            assert gc.get_threshold()[0] > usual[0]
            raise RuntimeError
        assert gc.get_threshold() == usual and gc.get_freeze_count() > kept
    finally:
        gc.unfreeze()

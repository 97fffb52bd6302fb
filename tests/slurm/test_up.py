"""up.sh is run for real by `make test-slurm`; this is what can be seen without installing anything."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = [*ROOT.glob("tests/**/*.sh"), ROOT / ".ci" / "run"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_no_function_hides_a_program(script: Path) -> None:
    """A function called `install` would run where the program of that name is meant."""
    functions = re.findall(r"^\s*(?:function\s+)?([\w-]+)\s*\(\)", script.read_text(), re.MULTILINE)
    assert not [name for name in functions if shutil.which(name) is not None]
    subprocess.run(["bash", "-n", str(script)], check=True)

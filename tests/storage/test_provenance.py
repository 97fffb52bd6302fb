"""Whether results were made by committed code."""

import subprocess
import sys
from pathlib import Path

import pytest

from memlab.storage import provenance
from tests.conftest import ROOT


def test_only_code_and_configs_make_a_checkout_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "memlab" / "storage" / "provenance.py"
    code.parent.mkdir(parents=True)
    code.write_text("")
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*name, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "__file__", str(code))
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a.whl").write_text("beside the code")
    head, changed = provenance.commit.__wrapped__()
    assert head and changed is False
    (tmp_path / "memlab" / "new.py").write_text("")
    assert provenance.commit.__wrapped__() == (head, True)


def test_a_stage_s_peak_memory_is_its_own() -> None:
    """In a process that has used more before: memory that was given back does not count."""
    code = (
        "from memlab.storage.provenance import forget_peak, peak_memory\n"
        "import torch\n"
        "large = torch.ones(100_000_000); before = peak_memory(); del large\n"
        "forget_peak(); print(before - peak_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) > 300_000_000

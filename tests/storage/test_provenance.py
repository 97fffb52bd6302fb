"""Whether results were made by committed code."""

import subprocess
from pathlib import Path

import pytest

from memlab.storage import provenance


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

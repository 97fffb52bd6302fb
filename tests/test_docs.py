"""The documentation's code is run as it stands."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from memlab import paths
from memlab.compose import compose_sweep
from memlab.estimate import Workload
from memlab.models import Stack
from memlab.pipeline import run_chain
from memlab.plan import plan
from tests.conftest import ROOT, smoke


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / document).read_text(), flags=re.DOTALL)


def test_adding_a_mixer(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,), (option,) = blocks("adding-a-mixer.md", "python"), blocks("adding-a-mixer.md", "yaml")
    (tmp_path / "average.py").write_text(code)
    specification = importlib.util.spec_from_file_location("memlab.models.average", tmp_path / "average.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "memlab.models.average", module)
    shutil.copytree(paths.conf(), tmp_path / "conf")
    (tmp_path / "conf" / "architecture" / "average.yaml").write_text(option)
    monkeypatch.setattr(paths, "conf", lambda: tmp_path / "conf")

    stack = module.AverageStack(width=8, layers=2, length=6)
    assert isinstance(stack, Stack)
    x_RTD = torch.randn(2, 6, 8)
    changed_RTD = x_RTD.clone()
    changed_RTD[:, 3:] += 1
    assert torch.equal(stack(x_RTD)[:, :3], stack(changed_RTD)[:, :3]), "the example is causal"

    given = [*smoke(corpus, tmp_path / "runs"), "architecture=average", "arm=direct_copy"]
    jobs = plan(compose_sweep(given).configs[0])
    run_chain(jobs, Workload())
    assert all(job.folder.finished for job in jobs)


def test_links_in_documents_lead_somewhere() -> None:
    documents = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*/README.md")]
    for document in documents:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document}: {target}"

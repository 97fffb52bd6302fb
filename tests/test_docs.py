"""The documentation's code is run as it stands."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from memlab.config import paths
from memlab.config.compose import compose_sweep
from memlab.config.plan import plan
from memlab.models import Stack
from memlab.sweep import make_sweep_report
from memlab.training.estimate import Workload
from memlab.training.pipeline import run_chain
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


def test_adding_an_experiment(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm, experiment, expected = blocks("adding-an-experiment.md", "yaml")
    (figure,) = blocks("adding-an-experiment.md", "python")
    shutil.copytree(paths.conf(), tmp_path / "conf")
    (tmp_path / "conf" / "arm" / "two_memories.yaml").write_text(arm)
    (tmp_path / "conf" / "experiment" / "memories.yaml").write_text(experiment)
    folder = tmp_path / "experiments" / "memories"
    folder.mkdir(parents=True)
    (folder / "expected.yaml").write_text(expected)
    (folder / "figure.py").write_text(figure)
    monkeypatch.setattr(paths, "conf", lambda: tmp_path / "conf")
    monkeypatch.setattr(paths, "experiments", lambda: tmp_path / "experiments")

    sweep = compose_sweep([*smoke(corpus, tmp_path / "runs"), "+experiment=memories"])
    for config in sweep.configs:
        run_chain(plan(config), Workload())
    report = make_sweep_report(sweep)
    assert [row["arm"] for row in report.rows] == ["trainable", "two_memories"]
    assert report.claims[0]["holds"] is not None and len(report.pictures) == 2


def test_links_in_documents_lead_somewhere() -> None:
    documents = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*/README.md")]
    for document in documents:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document}: {target}"


def readme_commands() -> list[list[str]]:
    """The python commands of README.md's bash block, in order."""
    (block,) = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.startswith("python ")]


def test_the_commands_of_the_readme_run(corpus: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """At smoke scale on the small corpus, one after another in one runs folder."""
    commands = readme_commands()
    assert len(commands) >= 6
    for command in commands:
        overrides = [] if "--help" in command else smoke(corpus, tmp_path)
        result = subprocess.run(
            [sys.executable, *command[1:], *overrides],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        # Claims are not expected to hold at this scale: the report then ends with 3.
        assert result.returncode in ((0, 3) if "memlab.report" in command else (0,)), f"{command}\n{result.stderr}"


def test_the_readme_names_every_option() -> None:
    readme = (ROOT / "README.md").read_text()
    for group in ("architecture", "objective", "encoder", "curriculum", "scale", "data", "trainer", "logger"):
        (row,) = re.findall(rf"^\| `{group}` \|(.*)$", readme, flags=re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) == {path.stem for path in (paths.conf() / group).glob("*.yaml")}
    for experiment in (ROOT / "experiments").glob("*/expected.yaml"):
        assert f"(experiments/{experiment.parent.name})" in readme


@pytest.mark.parametrize("path", sorted(paths.experiments().glob("*/results/laptop.json")), ids=lambda p: p.parts[-3])
def test_the_readme_counts_the_claims_that_hold(path: Path) -> None:
    (line,) = (
        line for line in (ROOT / "README.md").read_text().splitlines() if f"(experiments/{path.parts[-3]})" in line
    )
    verdicts: dict[str, list[bool]] = {}
    for claim in json.loads(path.read_text())["claims"]:
        if claim["holds"] is not None:
            architecture = claim["id"].partition("[")[2].removesuffix("]") or "between them"
            verdicts.setdefault(architecture, []).append(claim["holds"])
    for architecture, held in verdicts.items():
        name = architecture if architecture == "between them" else f"{architecture}s"
        assert f"{name} {sum(held)} of {len(held)}" in line


def test_make_run_is_the_main_job() -> None:
    listed = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "python -m memlab.run +experiment=copy_curriculum" in listed

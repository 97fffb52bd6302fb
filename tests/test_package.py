"""The wheel: `memlab` runs outside the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

EXPERIMENTS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/expected.yaml"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_carries_configs_and_experiments(installed: Path) -> None:
    configs = {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}
    assert {path.relative_to(installed / "memlab/conf") for path in (installed / "memlab/conf").rglob("*")} >= configs
    for name in EXPERIMENTS:
        assert {"expected.yaml", "figure.py"} <= {
            path.name for path in (installed / "memlab/experiments" / name).iterdir()
        }
    assert not (installed / "tests").exists()


def test_the_wheel_carries_the_page(installed: Path) -> None:
    files = {
        path.relative_to(ROOT) for path in (ROOT / "memlab/dashboard").rglob("*") if path.suffix not in (".pyc", "")
    }
    assert {path.suffix for path in files} == {".py", ".js", ".css", ".html", ".md"}
    assert not {path for path in files if not (installed / path).is_file()}
    assert (installed / "memlab/dashboard/vendor/uplot/LICENSE").is_file()


@pytest.mark.slow
def test_the_installed_command_finds_them(installed: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "memlab.run", "+experiment=copy_curriculum", "scale=smoke", "dry_run=true"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "15 points" in result.stdout


def test_every_dependency_is_pinned() -> None:
    """constraints.txt has direct and indirect dependencies, each with one version."""
    import tomllib
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        assert version, line
        pinned[canonicalize_name(name)] = version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    queue = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    seen: set[str] = set()
    while queue:
        requirement = Requirement(queue.pop())
        name = canonicalize_name(requirement.name)
        elsewhere = requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
        if name in (*seen, "memlab") or elsewhere:
            continue
        seen.add(name)
        try:
            queue += requires(name) or []
        except PackageNotFoundError:
            continue  # for another platform
        assert name in pinned, f"{name} is installed and not pinned in constraints.txt"
    assert len(seen) > 50

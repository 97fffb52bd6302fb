"""Every page: its commands compose and plan, its links lead somewhere, its lines are short. README runs for real."""

import argparse
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memlab.config import paths
from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.training.dry_run import print_plan
from tests.conftest import ROOT, smoke
from tests.pages import EXTENDING, PAGES, commands, images, name_of, shown_files, widest, write_files

LONGEST_LINE = 120
README = ROOT / "README.md"
# Groups of the table of docs/configs.md. The others are parts of these: bridge, model, stack, stage, tuned.
GROUPS = {"architecture", "curriculum", "data", "encoder", "hydra/launcher", "logger", "measure", "objective"}
GROUPS |= {"optimizer", "pretrained", "scale", "schedule", "tokenizer", "trainer"}
SLOW = pytest.mark.slow  # tests/test_experiments.py runs the same experiments


def readme_block() -> str:
    (block,) = re.findall(r"^```bash\n(.*?)^```$", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    return str(block)


def every_command() -> list[Any]:
    """Return (page, command) for all pages, each command once; those of README's block run for real below."""
    found = {}
    for page in PAGES:
        for command in widest(commands(page.read_text().replace(readme_block(), ""))):
            found.setdefault((page == EXTENDING, *command), (page, command))
    marked = ((pair, [SLOW] if pair[0].parent.parent == paths.experiments() else []) for pair in found.values())
    return [pytest.param(*pair, id=f"{name_of(pair[0])}: {' '.join(pair[1])}", marks=marks) for pair, marks in marked]


class Parsed(Exception):
    """What a command's options were parsed to."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options


@pytest.mark.parametrize(("page", "command"), every_command())
def test_a_command_of_a_page_is_understood(
    page: Path, command: list[str], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """memlab.run composes, plans and counts, as with dry_run=true; the other commands parse their options."""
    monkeypatch.chdir(tmp_path)
    if page == EXTENDING:
        write_files(shown_files(page), tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
    module, *arguments = [filled_in(word, corpus) for word in command]
    if module not in ("memlab.run", "memlab.reproduce"):
        options = parse(module, arguments, monkeypatch)
        arguments = getattr(options, "overrides", [])
    elif module == "memlab.reproduce":
        arguments = ["+experiment=copy", *arguments]
    if "+experiment=laptop_search" in arguments:  # tests/config/test_configs.py composes its many arms
        arguments = [*arguments, "arm=autoencoder__start,trainable__start"]
    if arguments:
        text = [] if any(a.startswith("data=") for a in arguments) else ["data=text_files", f"data.path={corpus}"]
        sweep = compose_sweep([*arguments, *text, f"runs_dir={tmp_path / 'runs'}"])
        print_plan(plan_all(sweep.configs))
    assert not (tmp_path / "runs").exists()


def filled_in(word: str, corpus: Path) -> str:
    """Put something in place of what the reader is to fill in, and take the first of list|show."""
    word = word.partition("|")[0].replace("*.jsonl.gz", "*.txt")
    return word.replace("=NAME", "=copy").replace("FOLDER_OR_GLOB", str(corpus)).replace("FOLDER", str(corpus))


def parse(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """Run a module's `main` until it has parsed its options."""

    def stop(original: Any) -> Any:
        def wrapper(parser: argparse.ArgumentParser, *given: Any) -> None:
            raise Parsed(original(parser, *given))

        return wrapper

    package = importlib.import_module(module)
    commands_main = importlib.import_module(f"{module}.__main__").main if hasattr(package, "__path__") else package.main
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, stop(getattr(argparse.ArgumentParser, name)))
    with pytest.raises(Parsed) as parsed:
        commands_main()
    return parsed.value.options


def test_the_pages_have_commands() -> None:
    assert {name_of(page) for page in PAGES if commands(page.read_text())} >= {
        "README.md",
        "docs/data.md",
        "docs/experiments.md",
        "docs/extending.md",
        "docs/performance.md",
        "docs/slurm.md",
        *(name_of(folder / "README.md") for folder in paths.experiments().iterdir() if folder.is_dir()),
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_knows_every_target_that_a_page_names(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = re.findall(r"(?:`|^ {4,})make ([a-z][a-z-]*)", page.read_text(), flags=re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pictures_have_a_text_that_says_what_is_to_be_seen(page: Path) -> None:
    """For screen readers. That the numbers are those of the figure: tests/test_experiments.py."""
    for picture, alt in images(page):
        assert len(alt.split()) >= 5, f"{picture}: {alt!r}"
        assert "<img" not in page.read_text()
        assert (page.parent / picture).is_file()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_are_short(page: Path) -> None:
    lines = enumerate(page.read_text().splitlines(), 1)
    assert not [number for number, line in lines if len(line) > LONGEST_LINE and not line.startswith("|")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]+))?\)", text):
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            file = path / "README.md" if path.is_dir() else path
            assert anchor in anchors(file), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """Return the names that headings have as targets of links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_glossary_has_at_most_twenty_terms_each_once() -> None:
    terms = re.findall(r"\*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text())
    assert 10 <= len(terms) <= 20
    assert len({*terms}) == len(terms)


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 120


@pytest.mark.slow
def test_the_commands_of_the_readme_run(corpus: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """At smoke scale on the small corpus, one after another in one runs folder."""
    found = commands(readme_block())
    assert len(found) >= 6
    for module, *arguments in found:
        overrides = [] if "--help" in arguments else smoke(corpus, tmp_path)
        result = subprocess.run(
            [sys.executable, "-m", module, *arguments, *overrides],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        # Claims are not expected to hold at this scale: the report then ends with 3.
        allowed = (0, 3) if module == "memlab.report" else (0,)
        assert result.returncode in allowed, f"{module} {arguments}\n{result.stdout}{result.stderr}"


def test_the_page_of_configs_names_every_option() -> None:
    named, page = set(), (ROOT / "docs" / "configs.md").read_text()
    for groups, options in re.findall(r"^\| (`.*?) \| (.*?) \| .* \|$", page, flags=re.MULTILINE):
        of_row = re.findall(r"`(.+?)`", groups)
        there = {path.stem for group in of_row for path in (paths.conf() / group).glob("[!_]*.yaml")}
        hydras = {"basic"} if "hydra/launcher" in of_row else set()
        assert set(re.findall(r"`(\w+)`", options)) == there | hydras, of_row
        named |= {*of_row}
    assert named == GROUPS


def test_the_readme_names_every_experiment() -> None:
    for experiment in paths.experiments().glob("*/expected.yaml"):
        assert f"(experiments/{experiment.parent.name})" in README.read_text()


@pytest.mark.parametrize("path", sorted(paths.experiments().glob("*/results/laptop.json")), ids=lambda p: p.parts[-3])
def test_the_readme_has_the_main_numbers_and_counts_the_claims_that_hold(path: Path) -> None:
    (line,) = (line for line in README.read_text().splitlines() if f"(experiments/{path.parts[-3]})" in line)
    verdicts: dict[str, list[bool]] = {}
    for claim in json.loads(path.read_text())["claims"]:
        if claim["holds"] is not None:
            architecture = claim["id"].partition("[")[2].removesuffix("]") or "between them"
            verdicts.setdefault(architecture, []).append(claim["holds"])
    for architecture, held in verdicts.items():
        name = architecture if architecture == "between them" else f"{architecture}s"
        assert f"{name} {sum(held)} of {len(held)}" in line
    if found := re.search(r"^In short: (.*)\.$", path.with_suffix(".md").read_text(), flags=re.MULTILINE):
        assert f"| {found[1]} |" in line


def test_make_run_is_the_main_job() -> None:
    listed = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "python -m memlab.run +experiment=copy_curriculum" in listed

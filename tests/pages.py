"""What the documentation's pages hold: files that are shown, and commands."""

import re
import shlex
from pathlib import Path

from memlab.config import paths
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(paths.experiments().glob("*/README.md"))]
EXTENDING = ROOT / "docs" / "extending.md"
LEFT_OUT = {"...", "[...]"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def shown_files(page: Path) -> dict[str, str]:
    """Return the code blocks that stand below a line with the file's name, `**conf/bridge/gates.yaml**`, by name."""
    blocks = re.findall(r"^\*\*(\S+)\*\*\n\n```\w+\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return dict(blocks)


def write_files(files: dict[str, str], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def images(page: Path) -> list[tuple[str, str]]:
    """Return (file, text for screen readers) of every picture of a page, outside of code blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", text)
    return [(file, " ".join(alt.split())) for alt, file in found]


def commands(text: str) -> list[list[str]]:
    """Return every `python -m memlab...` of a page's text, in code blocks and between backticks: module, arguments.

    $NAMES that the page sets itself are filled in; comments and `...` are left out.
    """
    text = re.sub(r"\\\n\s*", "", text)
    found = [re.sub(r"\s+", " ", span) for span in re.findall(r"`(python -m memlab[^`]+)`", text)]
    lines = [line for line in text.splitlines() if "`" not in line and not line.lstrip().startswith("#")]
    found += [line[line.index("python -m memlab") :] for line in lines if "python -m memlab" in line]
    values: dict[str, str] = {}
    for name, value in re.findall(r'^\s+(\w+)="(.*)"$', text, flags=re.MULTILINE):
        values[name] = value.replace(f"${name}", values.get(name, ""))
    for name, value in values.items():
        found = [command.replace(f"${name}", value) for command in found]
    split = [shlex.split(command, comments=True)[2:] for command in found]
    return [[word for word in command if word not in LEFT_OUT] for command in split]


def widest(found: list[list[str]]) -> list[list[str]]:
    """Return each command once, without seeds, and without commands whose points another one has as well."""
    plain = [[word for word in command if not word.startswith(("seed=", "dry_run="))] for command in found]
    once = [list(command) for command in dict.fromkeys(map(tuple, plain))]
    return [c for c in once if [*c, "architecture=mixer,transformer"] not in once]

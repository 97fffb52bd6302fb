"""Imports between the rooms of memlab run one way, and files stay short."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

from tests.import_graph import FLOORS, ROOT, arrows, draw, imports, problems

LIMIT = 300  # lines of a file
# Lines of code, without blank lines, comments and docstrings. What a single experiment needs is in memlab/studies.
CORE_LIMIT = 2500
CORE = (
    "run.py",
    "sweep.py",
    "config/plan.py",
    "config/stage.py",
    "training/stage.py",
    "training/chain.py",
    "training/module.py",
    "training/build.py",
    "training/trainer.py",
    "training/evaluate.py",
    "objectives/*.py",
    "models/*.py",
    "measures/*.py",
)


def package(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / "memlab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_no_import_of_memlab_runs_upwards_or_in_a_circle() -> None:
    assert not problems(imports(ROOT))


def test_every_room_has_a_place_and_every_place_a_room() -> None:
    rooms = {
        path.stem for path in (ROOT / "memlab").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert {name for names in FLOORS for name in names} == rooms - {"__init__"}


@pytest.mark.parametrize(
    "line",
    ["from memlab.training import stage", "import memlab.training.stage", "from memlab.training.stage import fit"],
)
def test_an_import_that_runs_upwards_is_found_wherever_it_stands(tmp_path: Path, line: str) -> None:
    inside = f"if TYPE_CHECKING:\n    {line}\ndef f():\n    {line}\n"
    root = package(tmp_path, {"models/stack.py": inside, "training/stage.py": "fit = 1", "training/__init__.py": ""})
    assert problems(imports(root)) == [
        "models.stack imports training.stage (line 2): upwards",
        "models.stack imports training.stage (line 4): upwards",
    ]


def test_a_circle_is_found_also_on_one_floor(tmp_path: Path) -> None:
    files = {
        "storage/lock.py": "from memlab.processes import ranks",
        "processes/ranks.py": "from memlab.storage import lock",
        "data/text.py": "import memlab.storage.lock",
    }
    assert problems(imports(package(tmp_path, files))) == ["storage -> processes -> storage: a circle"]


def test_reports_need_neither_models_nor_hydra(tmp_path: Path) -> None:
    files = {
        "report/write.py": "from memlab.models import Stack\nfrom memlab.config import paths, plan\n",
        "report/__main__.py": "from memlab.config import plan",
        "models/__init__.py": "Stack = 1",
        "config/paths.py": "",
        "config/plan.py": "",
    }
    found = problems(imports(package(tmp_path, files)))
    assert [message.partition(" (")[0] for message in found] == [
        "report.write imports config.plan",
        "report.write imports models",
    ]


def test_a_room_without_a_place_is_found(tmp_path: Path) -> None:
    files = {"attic/box.py": "import memlab.errors", "errors.py": ""}
    assert problems(imports(package(tmp_path, files))) == ["attic has no floor in tests/import_graph.py"]


def test_the_drawing_has_every_room_and_counts_arrows(tmp_path: Path) -> None:
    files = {
        "__init__.py": '"""A package."""\n',
        "run.py": "import memlab.models.stack\nfrom memlab.models import stack\nimport memlab.errors\nimport os\n",
        "models/stack.py": "import memlab.errors\nfrom memlab.models import mixer\n",
        "models/mixer.py": "",
        "errors.py": "import sys\n",
    }
    root = package(tmp_path, files)
    assert arrows(imports(root)) == {"run": {"errors", "models"}, "models": {"errors"}, "errors": set()}
    assert [line.split() for line in draw(root).splitlines()] == [
        ["15", "run", "4", "lines", "errors,", "models"],
        ["4", "models", "2", "lines", "errors"],
        ["0", "errors", "1", "lines"],
        ["3", "rooms,", "3", "arrows,", "7", "lines"],
    ]


def test_no_file_is_long() -> None:
    # The page's scripts and styles, too; memlab/dashboard/vendor is as its authors published it.
    files = [path for folder in ("memlab", "tests", "experiments") for path in (ROOT / folder).rglob("*.py")]
    files += [path for kind in ("js", "css", "html") for path in (ROOT / "memlab/dashboard/page").glob(f"*.{kind}")]
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {name: lines for name, lines in long.items() if lines > LIMIT}


def test_the_core_stays_small() -> None:
    files = [path for pattern in CORE for path in (ROOT / "memlab").glob(pattern)]
    assert sum(len(code_lines(path.read_text(encoding="utf-8"))) for path in files) < CORE_LIMIT


def test_lines_of_code_are_counted_without_comments_and_docstrings() -> None:
    source = '"""A\nmodule."""\n\n# why\nx = [\n    1,\n]\n\ndef f():\n    """A function."""\n    return x\n'
    assert code_lines(source) == {5, 6, 7, 9, 11}


def code_lines(source: str) -> set[int]:
    """Return the numbers of the lines that hold code."""
    nodes = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    documented = [node.body[0] for node in nodes if ast.get_docstring(node) is not None]
    docstrings = {line for node in documented for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    empty = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in empty]
    return {line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - docstrings

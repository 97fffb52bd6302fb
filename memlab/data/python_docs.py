"""English from inside every interpreter: its reference pages and the docstrings of its standard library.

Every document is taken out of a file of `python_source`, which is its origin, so its text was seen in training by a
model of `python_source` that trained on this file. Therefore a file is one document, and `memlab.data.prepare` splits
documents by the hash of their origin, as it splits `python_source`: with the same share held out (data.val) the
held-out documents come from files that `python_source` holds out, too.
"""

import ast
import hashlib
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from memlab.data.source import DataConfig
from memlab.data.text_files import PythonSource

if TYPE_CHECKING:
    from datasets import Dataset

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class PythonDocs(PythonSource):
    """One document per file of the standard library: its docstrings, or the reference pages. Nothing is imported."""

    def content_hash(self, config: DataConfig) -> str:
        return hashlib.sha256(f"docs of {super().content_hash(config)}".encode()).hexdigest()

    def documents(self, config: DataConfig, cache: Path) -> "Dataset":
        import datasets

        # Read as `datasets` reads python_source, or their hashes would differ. A file that is there twice is read once.
        origins = dict.fromkeys(
            path.read_text(encoding="utf-8", errors="replace") for path in sorted(self.files(config))
        )
        found = [texts_of(origin) for origin in origins]
        # A text of several files could stand on both sides of the split: it is left out.
        files_with = Counter(text for texts in found for text in texts)
        documents = ["".join(f"{text}\n\n" for text in texts if files_with[text] == 1) for texts in found]
        return datasets.Dataset.from_dict({"text": documents, "origin": list(origins)})


def texts_of(source: str) -> list[str]:
    """Docstrings of a module in the order of its lines, or the pages of `pydoc_data.topics`; each once.

    None of a file that this interpreter cannot parse.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes, in old files
            tree = ast.parse(source)
    except SyntaxError:
        return []
    nodes = [node for node in ast.walk(tree) if isinstance(node, _DOCUMENTED)]
    nodes.sort(key=lambda node: getattr(node, "lineno", 0))
    found = [ast.get_docstring(node) for node in nodes]
    found += [page for statement in tree.body for page in _pages(statement)]
    # A string literal can spell half a surrogate pair, which is no text.
    return list(dict.fromkeys(text.encode(errors="replace").decode() for text in found if text))


def _pages(statement: ast.stmt) -> list[str]:
    """The values of `topics = {"name": "page", ...}`."""
    match statement:
        case ast.Assign(targets=[ast.Name(id="topics")], value=ast.Dict(values=values)):
            return [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return []

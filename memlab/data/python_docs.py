"""English from inside every interpreter: Python's reference pages and the docstrings of its standard library.

Every document is taken out of one file of `python_source`, its origin. A model of `python_source` that trained on this
file has seen the document's text. Therefore documents are split by the hash of their origin, as `python_source` is:
with the same `val`, held-out documents come from files that `python_source` holds out, too.
"""

import ast
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from memlab.data.source import Document
from memlab.data.text_files import PythonSource, digest_of

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class PythonDocs(PythonSource):
    """One document per file of the standard library: its docstrings, or the reference pages. Nothing is imported."""

    def content_hash(self) -> str:
        return digest_of(["docs", super().content_hash()])

    def documents(self, cache: Path) -> Iterator[Document]:
        # A file that is there twice is one origin.
        origins = list(dict.fromkeys(document.text for document in super().documents(cache)))
        found = [texts_of(origin) for origin in origins]
        # A text that stands in several files could stand on both sides of the split, so it is left out.
        files_with = Counter(text for texts in found for text in texts)
        for origin, texts in zip(origins, found, strict=True):
            yield Document("".join(f"{text}\n\n" for text in texts if files_with[text] == 1), origin)


def texts_of(source: str) -> list[str]:
    """Return a module's docstrings in the order of lines, or the pages of `pydoc_data.topics`; each once.

    Return none for a file that this interpreter cannot parse.
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

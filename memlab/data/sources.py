"""Where documents come from: the sources by their name.

To add one: a `Source` (memlab/data/source.py) under its name here, and conf/data/<name>.yaml.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from memlab.data.hub import Hub
from memlab.data.python_docs import PythonDocs
from memlab.data.source import DataConfig, Source
from memlab.data.text_files import PythonSource, TextFiles
from memlab.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

SOURCES: dict[str, Source] = {
    "python_source": PythonSource(),
    "python_docs": PythonDocs(),
    "text_files": TextFiles(),
    "fineweb_edu": Hub(),
    "finemath": Hub(),
}
# Values of a source's config that say where the text is. What it is, `content_hash` says.
PLACES = ("name", "path", "repository", "subset", "split", "revision", "files")


def content_hash(config: DataConfig) -> str:
    """Hash of a source's text. Raises UserError for an unknown source, and for one without text."""
    return _source(config).content_hash(config)


def load_documents(config: DataConfig, cache: Path) -> "Dataset":
    """The documents of a source, see `Source.documents`."""
    import datasets

    datasets.disable_progress_bars()
    return _source(config).documents(config, cache)


def _source(config: DataConfig) -> Source:
    if config["name"] not in SOURCES:
        raise UserError(f"data.name={config['name']}: choose one of {', '.join(SOURCES)}")
    return SOURCES[config["name"]]

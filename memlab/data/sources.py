"""Where documents come from. A source is a function from its config to the files that hold its text.

To add one: a function here or anywhere, under a name in SOURCES, and conf/data/<name>.yaml. No heavy imports: config
errors and fingerprints need `find_files` and `content_hash` alone.
"""

import glob
import hashlib
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlab.errors import is_disk_trouble

if TYPE_CHECKING:
    from datasets import Dataset

DataConfig = Mapping[str, Any]
SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
# How `datasets` reads a file, by its ending.
READERS = {".txt": "text", ".md": "text", ".py": "text", ".jsonl": "json", ".parquet": "parquet"}


def python_source(config: DataConfig) -> list[Path]:
    """The standard library of the running interpreter without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    files = [path for path in root.rglob("*.py") if not SKIPPED_FOLDERS & set(path.relative_to(root).parts)]
    if not files:
        raise ValueError(f"no Python source in {root}: this interpreter came without it. Use data=text_files.")
    return files


def text_files(config: DataConfig) -> list[Path]:
    """A folder, to its bottom, or a glob."""
    given = str(config["path"])
    endings = sorted(set(READERS) - {".py"})
    if Path(given).is_dir():
        found = [Path(given) / name for name in glob.glob("**/*", root_dir=given, recursive=True)]
    else:
        found = [Path(name) for name in glob.glob(given, recursive=True)]
        if not found:
            raise ValueError(f"data.path={given}: there is no such folder, file or match of a glob")
    files = [path for path in found if path.is_file() and path.suffix in endings]
    if not any(path.stat().st_size for path in files):
        raise ValueError(f"data.path={given} holds no text: files ending in {', '.join(endings)} are read")
    return files


SOURCES: dict[str, Callable[[DataConfig], list[Path]]] = {"python_source": python_source, "text_files": text_files}


def find_files(config: DataConfig) -> list[Path]:
    """The files of a source, in a fixed order. Raises ValueError if there are none, or the source is unknown."""
    if config["name"] not in SOURCES:
        raise ValueError(f"data.name={config['name']}: choose one of {', '.join(SOURCES)}")
    return sorted(SOURCES[config["name"]](config))


def content_hash(config: DataConfig) -> str:
    """Hash of what the files hold, whatever they are called; some GB a second."""
    digests = []
    for path in find_files(config):
        with path.open("rb") as file:
            digests.append(f"{path.suffix} {hashlib.file_digest(file, 'blake2b').hexdigest()}")
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def load_documents(config: DataConfig, cache: Path) -> "Dataset":
    """One row per document, its text in the column `text`. `cache`: a folder for the library's own copy.

    Raises ValueError for a file that cannot be read and for one without the column `text_key`.
    """
    import datasets
    from datasets.exceptions import DatasetGenerationError

    datasets.disable_progress_bars()
    by_reader: dict[str, list[str]] = {}
    for path in find_files(config):
        by_reader.setdefault(READERS[path.suffix], []).append(str(path.resolve()))
    parts = []
    for reader, files in by_reader.items():
        options = {"sample_by": "document", "encoding_errors": "replace"} if reader == "text" else {}
        # Escaped, as `datasets` takes names for globs.
        names = [glob.escape(name) for name in files]
        try:
            part = datasets.load_dataset(reader, data_files=names, split="train", cache_dir=str(cache), **options)
        except (DatasetGenerationError, datasets.exceptions.DatasetsError, OSError) as error:
            for trouble in (error, error.__cause__):
                if isinstance(trouble, OSError) and is_disk_trouble(trouble):
                    raise trouble from None
            raise ValueError(f"cannot read {files[0]} or one of its {len(files) - 1} neighbours: {error}") from error
        key = "text" if reader == "text" else config["text_key"]
        if key not in part.column_names:
            raise ValueError(f"no column {key!r} in {files[0]}: set data.text_key to one of {part.column_names}")
        part = part.select_columns([key])
        if key != "text":
            part = part.rename_column(key, "text")
        parts.append(part.cast_column("text", datasets.Value("string")))
    return datasets.concatenate_datasets(parts)

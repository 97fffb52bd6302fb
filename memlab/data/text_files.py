"""Documents that are files, or rows of files: the user's own, and the standard library's source."""

import glob
import hashlib
import sysconfig
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from memlab.data.source import DataConfig, Source, explained
from memlab.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
# How `datasets` reads a file, by its ending.
READERS = {".txt": "text", ".md": "text", ".py": "text", ".jsonl": "json", ".parquet": "parquet"}


def file_hash(path: Path) -> str:
    """Of what a file holds, whatever it is called, but for its ending; some GB a second."""
    with path.open("rb") as file:
        return f"{path.suffix} {hashlib.file_digest(file, 'blake2b').hexdigest()}"


class FileSource(Source):
    """A source whose text is in files: a subclass says in which."""

    @abstractmethod
    def files(self, config: DataConfig) -> list[Path]:
        """The files, in any order. Raises UserError if there are none."""

    def content_hash(self, config: DataConfig) -> str:
        digests = sorted(map(file_hash, self.files(config)))
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def documents(self, config: DataConfig, cache: Path) -> "Dataset":
        """.txt, .md, .py: a document a file; .jsonl, .parquet: a document a row, in the column `text_key`."""
        import datasets

        by_reader: dict[str, list[str]] = {}
        for path in sorted(self.files(config)):
            by_reader.setdefault(READERS[path.suffix], []).append(str(path.resolve()))
        parts = []
        for reader, files in by_reader.items():
            options = {"sample_by": "document", "encoding_errors": "replace"} if reader == "text" else {}
            # Escaped, as `datasets` takes names for globs.
            names = [glob.escape(name) for name in files]
            with explained(f"cannot read {files[0]} or one of its {len(files) - 1} neighbours"):
                part = datasets.load_dataset(reader, data_files=names, split="train", cache_dir=str(cache), **options)
            parts.append(text_column(part, "text" if reader == "text" else config["text_key"], files[0]))
        return datasets.concatenate_datasets(parts)


def text_column(part: "Dataset", key: str, where: str) -> "Dataset":
    """`part` with its column `key` alone, under the name `text`. Raises UserError if there is no such column."""
    import datasets

    if key not in part.column_names:
        raise UserError(f"no column {key!r} in {where}: set data.text_key to one of {part.column_names}")
    part = part.select_columns([key])
    if key != "text":
        part = part.rename_column(key, "text")
    return part.cast_column("text", datasets.Value("string"))


class PythonSource(FileSource):
    """The standard library of the running interpreter without its tests."""

    def files(self, config: DataConfig) -> list[Path]:
        root = Path(sysconfig.get_path("stdlib"))
        files = [path for path in root.rglob("*.py") if not SKIPPED_FOLDERS & set(path.relative_to(root).parts)]
        if not files:
            raise UserError(f"no Python source in {root}: this interpreter came without it. Use data=text_files.")
        return files


class TextFiles(FileSource):
    """A folder, to its bottom, or a glob."""

    def files(self, config: DataConfig) -> list[Path]:
        given = str(config["path"])
        endings = sorted(set(READERS) - {".py"})
        if Path(given).is_dir():
            found = [Path(given) / name for name in glob.glob("**/*", root_dir=given, recursive=True)]
        else:
            found = [Path(name) for name in glob.glob(given, recursive=True)]
            if not found:
                raise UserError(f"data.path={given}: there is no such folder, file or match of a glob")
        files = [path for path in found if path.is_file() and path.suffix in endings]
        if not any(path.stat().st_size for path in files):
            raise UserError(f"data.path={given} holds no text: files ending in {', '.join(endings)} are read")
        return files

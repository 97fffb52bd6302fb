"""Corpora of the Hugging Face Hub, read from there or from a local copy of their parquet files."""

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memlab.data.decoding import text_of
from memlab.data.readers import no_column
from memlab.data.reading import Reading, shown
from memlab.data.source import Document, require_text
from memlab.data.text_files import FileSource, Found, digest_of, file_hash
from memlab.errors import UserError, is_disk_trouble


class Hub(FileSource):
    """A repository of datasets on the Hub, or a local copy of its parquet files.

    repository, subset, split, revision: what to ask the Hub for. files: where the repository keeps the parquet files,
    as a glob. path: a local copy (the folder of `hf download`, any folder of parquet files, or a glob); None asks the
    Hub. max_bytes: documents are taken from the front of the corpus in its own order, and nothing behind is read.
    """

    def __init__(
        self,
        *,
        name: str,
        repository: str,
        subset: str,
        split: str,
        revision: str,
        files: str,
        val: float,
        path: str | None = None,
        text_key: str = "text",
        errors: str = "stop",
        max_bytes: float | None = None,
        windows: str = "packed",
    ) -> None:
        super().__init__(name=name, val=val, max_bytes=max_bytes, windows=windows, text_key=text_key, errors=errors)
        asked = {"repository": repository, "subset": subset, "split": split, "revision": revision, "files": files}
        self.asked = {key: require_text(f"data.{key}", value) for key, value in asked.items()}
        self.path = None if path is None else os.path.expanduser(require_text("data.path", path))
        self._stopped = False

    def content_hash(self) -> str:
        """Return a hash of the local copy's files, or else of what is asked of the Hub: a plan needs no network."""
        if self.path is None:
            what = [self.asked[key] for key in ("repository", "subset", "split", "revision")]
        else:
            what = [file_hash(path) for path in self.find().files]  # in their order: `max_bytes` takes the first
        return digest_of([*what, self.text_key, self.errors])

    def documents(self, cache: Path) -> Iterator[Document]:
        read, self._stopped = 0, False
        for document in self._from_hub() if self.path is None else super().documents(cache):
            yield document
            read += len(document.text.encode(errors="replace"))
            if self.max_bytes is not None and read >= self.max_bytes:
                self._stopped = True
                return

    def report(self) -> list[str]:
        behind = [f"Stopped at data.max_bytes={self.max_bytes}: nothing behind was read."] if self._stopped else []
        return [*super().report(), *behind]

    def find(self) -> Found:
        """Return the local copy's files: in the repository's layout, else in the folder itself, or of a glob."""
        assert self.path is not None
        if Path(self.path).is_dir():
            folder = Path(self.path)
            files = sorted(folder.glob(self.asked["files"])) or sorted(folder.glob("*.parquet"))
        else:
            matches = [self.path] if os.path.exists(self.path) else glob.glob(self.path, recursive=True)
            files = sorted(Path(name) for name in matches if name.endswith(".parquet"))
        if not files:
            raise UserError(
                f"data.path={shown(self.path)}: no {self.asked['files']} in it and no *.parquet, nor is it a glob of"
                f" such. To get them: {self._download(shown(self.path))}"
            )
        found = Found(files)
        if Path(self.path).is_dir():
            for path in sorted(set(Path(self.path).rglob("*")) - set(files)):
                hidden = any(part.startswith(".") for part in path.relative_to(self.path).parts)
                if path.is_file() and not hidden:
                    found.leave_out(f"outside data.files={self.asked['files']}", path)
        return found

    def _from_hub(self) -> Iterator[Document]:
        self._reading = Reading()
        with self._explained():
            import datasets

            datasets.disable_progress_bars()
            asked = self.asked
            rows: Any = datasets.load_dataset(
                asked["repository"],
                name=asked["subset"],
                split=asked["split"],
                revision=asked["revision"],
                streaming=self.max_bytes is not None,
            )
            columns = rows.column_names or list(next(iter(rows), {}))
            if self.text_key not in columns:
                raise UserError(no_column(asked["repository"], self.text_key, columns))
            for number, row in enumerate(rows.select_columns([self.text_key]), 1):
                text = text_of(row[self.text_key], f"column {self.text_key!r} in row {number} of {asked['repository']}")
                if text:
                    yield Document(text)
                else:
                    self._reading.without_text += 1

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what to do where the Hub cannot be read. A full disk stays a full disk."""
        try:
            yield
        except Exception as error:
            from datasets.exceptions import DatasetGenerationError, DatasetsError

            if not isinstance(error, DatasetGenerationError | DatasetsError | OSError):
                raise
            for trouble in (error, error.__cause__):
                if isinstance(trouble, OSError) and is_disk_trouble(trouble):
                    raise trouble from None
            raise UserError(
                f"cannot read {self.asked['repository']} ({self.asked['subset']}, revision {self.asked['revision']})"
                f" from the Hugging Face Hub. Download it where there is a network: {self._download('FOLDER')}; then"
                " set data.path=FOLDER. Or choose text that every machine has: data=python_source. The Hub's answer:"
                f" {error}"
            ) from error

    def _download(self, folder: str) -> str:
        return (
            f"`hf download {self.asked['repository']} --repo-type dataset --revision {self.asked['revision']}"
            f' --include "{self.asked["files"]}" --local-dir {folder}`'
        )

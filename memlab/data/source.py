"""What a source of documents is.

No heavy imports at the top of it or of a source: config errors and fingerprints need `content_hash` alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlab.errors import UserError, is_disk_trouble

if TYPE_CHECKING:
    from datasets import Dataset

DataConfig = Mapping[str, Any]


class Source(ABC):
    """Turns the config of `conf/data/<name>.yaml` into documents."""

    @abstractmethod
    def content_hash(self, config: DataConfig) -> str:
        """Hash of the text itself, wherever it lies, without a heavy import. Raises UserError if there is none."""

    @abstractmethod
    def documents(self, config: DataConfig, cache: Path) -> "Dataset":
        """One row per document, its text in the column `text`. `cache`: a folder for the library's own copy.

        A second column, `origin`, is for text that was taken out of other text: documents are then split into training
        and held out by their origin, as a corpus of the origins would be. Such a document may be empty: it is left out
        after the split. Raises UserError for text that cannot be had, with what to do.
        """


@contextmanager
def explained(message: str) -> Iterator[None]:
    """Errors of `datasets` become a UserError that starts with `message`; a full disk stays a full disk."""
    from datasets.exceptions import DatasetGenerationError, DatasetsError

    try:
        yield
    except (DatasetGenerationError, DatasetsError, OSError) as error:
        for trouble in (error, error.__cause__):
            if isinstance(trouble, OSError) and is_disk_trouble(trouble):
                raise trouble from None
        raise UserError(f"{message}: {error}") from error

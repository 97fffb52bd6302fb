"""Corpora of the Hugging Face Hub, read from there or from a local copy of their parquet files."""

import glob
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlab.data.source import DataConfig, Source, explained
from memlab.data.text_files import file_hash, text_column
from memlab.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


class Hub(Source):
    """`repository`, `subset`, `split`, `revision`: what is asked of the Hub. `path`, if given: a local copy.

    With `max_bytes`, documents are taken from the front of the corpus, in its own order, and nothing behind them is
    read. Without, all of it is.
    """

    def content_hash(self, config: DataConfig) -> str:
        """Of the local copy's files, or else of what is asked of the Hub: nothing is downloaded to plan a run."""
        if config["path"] is None:
            what = [config[key] for key in ("repository", "subset", "split", "revision")]
        else:
            what = [file_hash(path) for path in _local_files(config)]  # in their order: `max_bytes` takes the first
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def documents(self, config: DataConfig, cache: Path) -> "Dataset":
        import datasets

        if config["path"] is None:
            where = config["repository"]
            options = {
                "path": where,
                "name": config["subset"],
                "split": config["split"],
                "revision": config["revision"],
            }
            trouble = _not_to_be_had(config)
        else:
            # What `datasets` makes of a local copy goes with `cache`; of the Hub it keeps its own, for the next time.
            files = [glob.escape(str(path.resolve())) for path in _local_files(config)]
            where = config["path"]
            options = {"path": "parquet", "data_files": files, "split": "train", "cache_dir": str(cache)}
            trouble = f"cannot read the parquet files of {where}"
        with explained(trouble):
            if config["max_bytes"] is None:
                return text_column(datasets.load_dataset(**options), config["text_key"], where)
            stream = datasets.load_dataset(**options, streaming=True)
            texts = text_column(stream, config["text_key"], where)
            return datasets.Dataset.from_generator(
                _front, gen_kwargs={"texts": texts, "max_bytes": config["max_bytes"]}, cache_dir=str(cache)
            )


def _front(texts: "IterableDataset", max_bytes: int) -> Iterator[dict[str, Any]]:
    """Rows until their text has `max_bytes`."""
    size = 0
    for row in texts:
        yield row
        size += len((row["text"] or "").encode(errors="replace"))
        if size >= max_bytes:
            return


def _local_files(config: DataConfig) -> list[Path]:
    """Parquet files of `path`: of the repository's layout if it has them, else of the folder itself, or of a glob."""
    given = Path(config["path"])
    if given.is_dir():
        found = sorted(given.glob(config["files"])) or sorted(given.glob("*.parquet"))
    else:
        found = sorted(Path(name) for name in glob.glob(str(given), recursive=True) if name.endswith(".parquet"))
    if not found:
        raise UserError(
            f"data.path={given}: no {config['files']} in it and no *.parquet, nor is it a glob of such. To get them:"
            f" {_download(config, str(given))}"
        )
    return found


def _not_to_be_had(config: DataConfig) -> str:
    return (
        f"cannot read {config['repository']} ({config['subset']}, revision {config['revision']}) from the Hugging Face"
        f" Hub. Download it where there is a network: {_download(config, 'FOLDER')}; then set data.path=FOLDER. Or"
        " choose text that every machine has: data=python_source. The Hub's answer"
    )


def _download(config: DataConfig, folder: str) -> str:
    return (
        f"`hf download {config['repository']} --repo-type dataset --revision {config['revision']}"
        f' --include "{config["files"]}" --local-dir {folder}`'
    )

"""Sources, tokenizers and files of the tests."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from omegaconf import OmegaConf

import memlab.data
from memlab.config import paths
from memlab.data import BytePairEncoding, Prepared, Source, TextFiles, Tokenizer, data_hash, prepare

BPE = BytePairEncoding(vocab=300)


def text_files(path: Path | str, **changes: Any) -> TextFiles:
    return TextFiles(**{"name": "mine", "path": str(path), "val": 0.1, **changes})


def texts_in(path: Path | str, **options: Any) -> list[str]:
    return texts_of(text_files(path, **options))


def texts_of(source: Source) -> list[str]:
    return [document.text for document in source.documents(Path("unused"))]


def line_of(path: Path | str, **options: Any) -> str:
    """What reading a folder ends with."""
    source = text_files(path, **options)
    texts_of(source)
    return " ".join(source.report())


def write_parquet(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def option(name: str, **changes: Any) -> Any:
    """The source of conf/data/<name>.yaml, whole unless `max_bytes` is among the changes."""
    config = OmegaConf.load(paths.conf() / "data" / f"{name}.yaml")
    merged = OmegaConf.merge(config, {"max_bytes": None}, changes)
    values: Any = OmegaConf.to_container(merged, resolve=True)
    package, _, target = values.pop("_target_").rpartition(".")
    assert package == "memlab.data"
    return getattr(memlab.data, target)(**values)


def made(source: Source, tokenizer: Tokenizer, root: Path) -> Prepared:
    """The prepared corpus, under the hash that it has."""
    return prepare(source, tokenizer, root, data_hash(source, tokenizer))


def whole_text(prepared: Prepared, split: str) -> str:
    return prepared.decode(prepared.tokens(split))

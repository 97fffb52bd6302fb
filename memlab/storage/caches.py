"""Where libraries keep their files: under the runs folder, and not in the user's home folder."""

import os
from pathlib import Path

from memlab.storage.pretrained import CACHE


def keep_caches_in(runs_dir: Path) -> None:
    """Let libraries keep their caches in `runs_dir`/cache, in this process and in those that it starts.

    Call this before the libraries are imported. They are wandb, matplotlib, Hugging Face's libraries and the compilers
    of GPU code. A variable that the user has set is left alone, and what the user has stored is still read: wandb's
    settings and the token for the Hub. No folder is made here.
    """
    cache = Path(runs_dir).expanduser().absolute() / "cache"
    folders = {
        "WANDB_DATA_DIR": "wandb/data",
        "WANDB_CACHE_DIR": "wandb/cache",
        "MPLCONFIGDIR": "matplotlib",
        "TRITON_CACHE_DIR": "triton",
        "CUDA_CACHE_PATH": "cuda",
    }
    if not Path("~/.config/wandb").expanduser().exists():
        folders["WANDB_CONFIG_DIR"] = "wandb/config"
    if "HF_HOME" not in os.environ:
        default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface").expanduser()
        os.environ.setdefault("HF_TOKEN_PATH", str(default / "token"))
        folders["HF_HOME"] = "huggingface"
    os.environ.setdefault(CACHE, str(cache))
    for name, folder in folders.items():
        os.environ.setdefault(name, str(cache / folder))

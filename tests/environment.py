"""The environment that tests run in, and everything that they start: the same whoever calls pytest, and where."""

import atexit
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

# Variables that people, clusters and launchers set, and that change what memlab or its libraries do.
PREFIXES = (
    "CUDA_", "GLOO_", "HF_", "HUGGING", "HYDRA_", "KMP_", "LC_", "MALLOC_", "MEMLAB_", "MKL_", "MPL", "NCCL_",
    "NUMEXPR_", "OMP_", "OPENBLAS_", "PL_", "PMI_", "PYTHON", "PYTORCH_", "SBATCH_", "SLURM_", "SRUN_", "SUBMITIT_",
    "TOKENIZERS_", "TORCH", "TRANSFORMERS_", "TRITON_", "WANDB_", "XDG_",
)  # fmt: skip
NAMES = (
    "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "GLIBC_TUNABLES", "GROUP_RANK", "LANG", "LANGUAGE", "LD_PRELOAD",
    "LINES", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NO_COLOR", "RANK", "TTY_COMPATIBLE",
    "TTY_INTERACTIVE", "WORLD_SIZE",
)  # fmt: skip
KEPT = ("SLURM_TESTS",)  # by which `make test-slurm` asks for the tests of SLURM


def isolate(environment: MutableMapping[str, str]) -> None:
    """Remove what the user has set, and set what every test needs: one thread, no GPU, no network."""
    for name in list(environment):
        if (name.startswith(PREFIXES) or name in NAMES) and name not in KEPT:
            del environment[name]
    caches = Path(tempfile.mkdtemp(prefix="memlab-tests-"))
    atexit.register(shutil.rmtree, caches, ignore_errors=True)
    environment |= {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",  # what tests compare bit for bit is computed on a CPU
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(caches / "huggingface"),
        "MPLCONFIGDIR": str(caches / "matplotlib"),
        "WANDB_MODE": "offline",
        "LANG": "C.UTF-8",
        "COLUMNS": "160",
    }

"""The speed of this machine's matrix products."""

import json
import time
from pathlib import Path

import torch

from memlab.storage.files import read_json, write_json
from memlab.storage.provenance import hardware

SIZE = {"cpu": 1024, "cuda": 8192}  # of a square product: large enough to be fast, small enough to be quick
DTYPES = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}


def product_rate(size: int, device: str, dtype: torch.dtype = torch.float32) -> float:
    """Return the operations per second of a square product, the best of five."""
    a = torch.ones(size, size, device=device, dtype=dtype)  # random numbers would move the global generator
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def kept_rate(file: Path, device: str, precision: str) -> float:
    """Return the rate of a machine like this one in a stage's precision; measured once, and then kept in `file`.

    Threads of the CPU count as part of the machine, and so does whether fp32 products may use TF32.
    """
    dtype = next((dtype for name, dtype in DTYPES.items() if precision.startswith(name)), torch.float32)
    about = [hardware(), torch.get_num_threads(), device, str(dtype), torch.get_float32_matmul_precision()]
    name = json.dumps(about)
    try:
        known = dict(read_json(file))
    except (OSError, ValueError, TypeError):
        known = {}
    if name not in known:
        known[name] = product_rate(SIZE[device], device, dtype)
        write_json(file, known)
    return float(known[name])

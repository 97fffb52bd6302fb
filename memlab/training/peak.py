"""The speed of this machine's matrix products."""

import json
import time
from pathlib import Path

import torch

from memlab.storage.files import read_json, write_json
from memlab.storage.provenance import hardware

SIZE = {"cpu": 1024, "cuda": 8192}  # of a square product: large enough to be fast, small enough to be quick
DTYPES = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}
IN_A_ROW = {"cpu": 1, "cuda": 10}  # a GPU is told of the next product while it computes one


def square_rate(size: int, device: str, dtype: torch.dtype = torch.float32) -> float:
    """Return the operations per second of a square product, the best of five."""
    return max(product_rate((size, size, size), device, dtype) for _ in range(5))


def product_rate(shape: tuple[int, int, int], device: str, dtype: torch.dtype = torch.float32) -> float:
    """Return the operations per second of the product of (rows, inner) by (inner, columns), in one measurement."""
    rows, inner, columns = shape
    generator = torch.Generator(device).manual_seed(0)  # the global one belongs to training; a GPU is faster on ones
    a, b = (
        torch.randn(size, generator=generator, device=device, dtype=dtype) for size in ((rows, inner), (inner, columns))
    )
    out = a @ b
    out[0, 0].item()  # waits for the device
    start = time.perf_counter()
    for _ in range(IN_A_ROW[device]):
        torch.mm(a, b, out=out)
    out[0, 0].item()
    return 2.0 * rows * inner * columns * IN_A_ROW[device] / (time.perf_counter() - start)


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
        known[name] = square_rate(SIZE[device], device, dtype)
        write_json(file, known)
    return float(known[name])

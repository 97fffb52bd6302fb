"""Import libraries without those of their parts that take long to load and that memlab does not use."""

import sys
from types import ModuleType


def import_torchmetrics() -> None:
    """Import torchmetrics without scipy.signal. Call this before anything else imports torchmetrics or Lightning.

    Loading scipy.signal takes half a second. torchmetrics loads the module only to restore a function that SciPy has
    removed, for a metric of speech. During the import an empty module stands in for scipy.signal; afterwards the empty
    module is removed, and whoever imports scipy.signal gets the real one.
    """
    name = "scipy.signal"
    if name in sys.modules or "torchmetrics" in sys.modules:
        return
    stand_in = ModuleType(name)
    stand_in.hamming = None  # type: ignore[attr-defined]
    sys.modules[name] = stand_in
    try:
        import torchmetrics  # noqa: F401
    finally:
        del sys.modules[name]

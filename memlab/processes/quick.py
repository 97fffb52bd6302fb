"""What takes long to import, and is not needed for it."""

import sys
from types import ModuleType


def import_torchmetrics() -> None:
    """Import torchmetrics without scipy.signal. To be called before anything else imports torchmetrics or Lightning.

    torchmetrics loads scipy.signal, for half a second, to give a name back to it that SciPy has dropped; a metric of
    speech that memlab has no use for asks for that name. A stand-in takes the name, and goes: whoever needs
    scipy.signal imports the real one.
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

"""A quick start: libraries without those of their parts that memlab does not use, and few collections of garbage."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

UNUSED = ("matplotlib", "transformers")  # of torchmetrics: for its own plots, and for scores of generated text


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect garbage rarely while libraries load and configs are composed: most of what they make stays.

    Afterwards the collector is as it was, and leaves alone what is there.
    """
    usual = gc.get_threshold()
    gc.set_threshold(100_000, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.freeze()


def import_torchmetrics() -> None:
    """Import torchmetrics without scipy.signal, matplotlib and transformers, which take a second to load.

    Call this before anything else imports torchmetrics or Lightning. For torchmetrics matplotlib and transformers are
    not installed then, which is what its own plots and its BERT score say; for everybody else nothing changes.
    """
    if "torchmetrics" in sys.modules:
        return
    with _without_signal(), _without(UNUSED):
        import torchmetrics  # noqa: F401


@contextmanager
def _without_signal() -> Iterator[None]:
    """Let an empty module stand in for scipy.signal, and remove it afterwards.

    torchmetrics loads the module only to restore a function that SciPy has removed, for a metric of speech.
    """
    name = "scipy.signal"
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)
    stand_in.hamming = None  # type: ignore[attr-defined]
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def _without(packages: tuple[str, ...]) -> Iterator[None]:
    """Answer no where torchmetrics asks whether one of these packages, not loaded yet, is installed."""
    from lightning_utilities.core.imports import RequirementCache

    hidden = tuple(package for package in packages if package not in sys.modules)
    check = RequirementCache._check_available

    def answer(cache: RequirementCache) -> None:
        if str(cache.requirement).startswith(hidden):
            cache.available, cache.message = False, f"memlab has loaded torchmetrics without {cache.requirement}"
        else:
            check(cache)

    RequirementCache._check_available = answer  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        RequirementCache._check_available = check  # type: ignore[method-assign]

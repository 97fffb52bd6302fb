"""memlab: a laboratory for memory models (Badger, arXiv 2602.13466).

`memlab.load(folder)` returns a finished model to use (docs/use.md).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memlab.use.load import load as load

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `load`, and torch with it, when it is asked for: every command imports this package first."""
    if name == "load":
        from memlab.use.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

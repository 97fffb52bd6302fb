"""Where configs and experiments lie: in the checkout beside the package, in a wheel inside it."""

from pathlib import Path

from memlab.errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent


def _find(name: str) -> Path:
    for parent in (_PACKAGE, _PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise UserError(f"the folder {name}/ is missing beside or inside {_PACKAGE}: reinstall memlab")


def conf() -> Path:
    """The folder of Hydra configs."""
    return _find("conf")


def experiments() -> Path:
    """The folder with one folder per experiment."""
    return _find("experiments")

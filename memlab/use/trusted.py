"""Which classes the config of somebody else's folder may name. Nothing else is imported, let alone called."""

from collections.abc import Collection
from typing import Any

from torch import nn

from memlab import models, objectives, pretrained
from memlab.config.instantiate import TARGET
from memlab.errors import UserError

OWN = {
    **{
        room.__name__: [name for name, value in vars(room).items() if isinstance(value, type)]
        for room in (models, objectives, pretrained)
    },
    "memlab.studies.channel": ["GaussianNoise", "Quantise"],
    "memlab.studies.oracle": ["OracleMemoryModel"],
}


def require_trusted(spec: Any, trust: Collection[str], where: str) -> None:
    """Raise UserError if a specification names anything but memlab's models and objectives and torch.nn's modules.

    trust: packages whose names are allowed, too. where: the folder, for the message.
    """
    for name in _targets(spec):
        if not _trusted(name, trust):
            package = str(name).partition(".")[0]
            raise UserError(
                f"{where} names {name}, which is no model or objective of memlab's: nothing of the folder was used. If"
                f" the folder and that code are yours, allow it: load(path, trust=[{package!r}]), or --trust {package}"
            )


def _targets(spec: Any) -> list[Any]:
    if isinstance(spec, dict):
        own = [spec[TARGET]] if TARGET in spec else []
        return own + [name for value in spec.values() for name in _targets(value)]
    if isinstance(spec, list | tuple):
        return [name for value in spec for name in _targets(value)]
    return []


def _trusted(name: Any, trust: Collection[str]) -> bool:
    if not isinstance(name, str):
        return False
    module, _, attribute = name.rpartition(".")
    if module == "torch.nn":
        found = getattr(nn, attribute, None)
        return isinstance(found, type) and issubclass(found, nn.Module)
    return attribute in OWN.get(module, ()) or any(name.startswith(f"{package}.") for package in trust)

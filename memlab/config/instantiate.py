"""From `{_target_: public.name, ...}` to objects, as Hydra does, but without Hydra: run folders load with only this."""

import functools
import importlib
import inspect
from typing import Any

from memlab.errors import UserError

TARGET, PARTIAL = "_target_", "_partial_"


def build(spec: Any, **more: Any) -> Any:
    """Build what a specification names, and whatever it contains.

    A mapping with `_target_` becomes a call of that name with the other keys and `more`; with `_partial_: true` it
    becomes a function that still takes arguments. Other mappings and lists are built item by item.
    Raises UserError for a name that cannot be imported and a key that the target does not take.
    """
    if isinstance(spec, list):
        return [build(item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    given = {key: build(value) for key, value in spec.items() if key not in (TARGET, PARTIAL)}
    if TARGET not in spec:
        return given
    target = locate(spec[TARGET])
    _require_known(target, spec[TARGET], given)
    call = functools.partial(target, **given, **more)
    return call if spec.get(PARTIAL) else call()


def locate(name: str) -> Any:
    """Import the public name of a class or function. Raises UserError if there is no such name."""
    module, _, attribute = str(name).rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"_target_={name} cannot be imported: {error}") from None


def _require_known(target: Any, name: str, given: dict[str, Any]) -> None:
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # written in C, without a signature
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    valid = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = [key for key in given if key not in valid]
    if unknown:
        raise UserError(f"{name} does not take {', '.join(unknown)}. Valid keys: {', '.join(valid)}")

"""From `{_target_: public.name, ...}` to objects, as Hydra does, but without Hydra: run folders load with only this."""

import functools
import importlib
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from memlab.errors import UserError

TARGET, PARTIAL = "_target_", "_partial_"
# Annotations of plain values, and the classes of such values.
PLAIN: dict[Any, Any] = {
    int: int,
    float: (int, float),
    str: str,
    bool: bool,
    None: types.NoneType,
    types.NoneType: types.NoneType,
}


def build(spec: Any, **more: Any) -> Any:
    """Build what a specification names, and whatever it contains.

    A mapping with `_target_` becomes a call of that name with the other keys and `more`; with `_partial_: true` it
    becomes a function that still takes arguments. Other mappings and lists are built item by item.
    Raises UserError for a name that cannot be imported, a key that the target does not take, and a plain value of
    another type than the target's annotation says.
    """
    return _build(spec, "", more)


def verify(spec: Any) -> None:
    """Raise UserError as `build` does, but call nothing: classes are imported and their signatures are read."""
    _walk(spec, "")


def locate(name: str) -> Any:
    """Import the public name of a class or function. Raises UserError if there is no such name."""
    module, _, attribute = str(name).rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"_target_={name} cannot be imported: {error}") from None


def _build(spec: Any, where: str, more: dict[str, Any]) -> Any:
    if isinstance(spec, list):
        return [_build(item, _inside(where, str(number)), {}) for number, item in enumerate(spec)]
    if not isinstance(spec, dict):
        return spec
    given = {key: _build(value, _inside(where, key), {}) for key, value in _keys(spec)}
    if TARGET not in spec:
        return given
    target = locate(spec[TARGET])
    _require_fitting(target, spec[TARGET], where, given)
    call = functools.partial(target, **given, **more)
    if spec.get(PARTIAL):
        return call
    _require_complete(target, spec[TARGET], where, {*given, *more})
    return call()


def _walk(spec: Any, where: str) -> None:
    if isinstance(spec, list):
        for number, item in enumerate(spec):
            _walk(item, _inside(where, str(number)))
    elif isinstance(spec, dict):
        for key, value in _keys(spec):
            _walk(value, _inside(where, key))
        if TARGET in spec:
            _require_fitting(locate(spec[TARGET]), spec[TARGET], where, dict(_keys(spec)))


def _keys(spec: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in spec.items() if key not in (TARGET, PARTIAL)]


def _inside(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _require_fitting(target: Any, name: str, where: str, given: dict[str, Any]) -> None:
    """Compare the given keys and values with the target's signature."""
    at = f"{name} ({where})" if where else name
    if not callable(target):
        raise UserError(f"_target_={at} is not a class or a function")
    parameters = _parameters(target)
    if parameters is None:
        return
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    valid = {p.name: p.annotation for p in parameters if p.kind in kinds}
    unknown = [key for key in given if key not in valid]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise UserError(f"{at} does not take {', '.join(unknown)}. Valid keys: {', '.join(valid)}")
    for key, value in given.items():
        if not _fits(value, valid.get(key, Any)):
            shown = "null" if value is None else value
            raise UserError(f"{at}: {key}={shown} should be {inspect.formatannotation(valid[key])}")


def _require_complete(target: Any, name: str, where: str, given: set[str]) -> None:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in _parameters(target) or [] if p.default is p.empty and p.kind not in kinds]
    if missing := [key for key in needed if key not in given]:
        at = f"{name} ({where})" if where else name
        raise UserError(f"{at} needs {', '.join(missing)}: give it, or add _partial_: true where it is given later")


def _parameters(target: Any) -> list[inspect.Parameter] | None:
    """Return the parameters of a class or function; None where it has no signature, as if written in C."""
    for evaluate in (True, False):  # annotations may name what only type checkers import
        try:
            return list(inspect.signature(target, eval_str=evaluate).parameters.values())
        except NameError:
            continue
        except (TypeError, ValueError):
            return None
    return None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value can be what an annotation says; True for annotations that say nothing about plain values."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if isinstance(value, dict):  # of a specification that is not built yet, or of plain keys
        return hint not in PLAIN
    if hint in PLAIN:
        return isinstance(value, PLAIN[hint]) and (hint is bool or not isinstance(value, bool))
    if origin in (list, tuple, Sequence):
        items = get_args(hint)[0] if origin is not tuple and get_args(hint) else Any
        return isinstance(value, list | tuple) and all(_fits(item, items) for item in value)
    return callable(value) if origin is Callable else True

"""Hydra's and OmegaConf's errors, with what to type instead."""

import difflib
import shlex

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException


def explain_hydra(error: Exception) -> str:
    """Return the message, with the keys that would have been valid where a key was not."""
    message = str(error).split("\nConfig search path")[0]
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if not isinstance(cause, OmegaConfBaseException):
        return message
    key, parent = str(getattr(cause, "key", "") or ""), cause.parent_node
    if parent is None or not isinstance(parent, DictConfig) or key in parent:
        return message if cause is error else f"{message}\n{cause}"
    valid = [str(name) for name in parent]
    close = difflib.get_close_matches(key, valid, 1)
    guess = f" Did you mean {close[0]}?" if close else ""
    return f"unknown key {cause.full_key}.{guess} Valid keys there: {', '.join(valid)}"


def explain_override(override: str, error: Exception | None) -> str:
    """Return what to type for an override whose value has characters that Hydra's grammar uses."""
    key, equals, value = override.partition("=")
    if not equals or not value or key.strip("+~") == "":
        return f"{override!r} is not an override: write GROUP=OPTION or KEY=VALUE" + (f" ({error})" if error else "")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    quoted = shlex.quote(f'{key}="{escaped}"')
    return f"Hydra reads {value!r} as more than a plain value; to pass it as it stands, type {quoted}"

"""Hydra's and OmegaConf's errors, with what to type instead."""

import difflib
import re
import shlex

from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException


def explain_hydra(error: Exception) -> str:
    """Return the message, with the keys that would have been valid where a key was not."""
    message = re.sub(r"\n\t_\w+(?=\n|$)", "", str(error).split("\nConfig search path")[0])  # _base is no option
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if not isinstance(cause, ConfigKeyError | ConfigAttributeError):
        return message.strip() if cause in (error, None) else f"{message.strip()}\n{cause}"
    key, parent = str(getattr(cause, "key", "") or ""), cause.parent_node
    if parent is None or not isinstance(parent, DictConfig) or key in parent:
        return message if cause is error else f"{message}\n{cause}"
    valid = [str(name) for name in parent]
    close = difflib.get_close_matches(key, valid, 1)
    guess = f" Did you mean {close[0]}?" if close else ""
    return f"unknown key {cause.full_key}.{guess} Valid keys there: {', '.join(valid)}"


def explain_override(override: str) -> str:
    """Return what to type for an override whose value has characters that Hydra's grammar uses."""
    key, equals, value = override.partition("=")
    if not equals or not value or key.strip("+~") == "":
        return f"{override!r} is not an override: write GROUP=OPTION or KEY=VALUE"
    typed = shlex.quote(f"{key}={quoted(value)}")
    return f"Hydra reads {value!r} as more than a plain value; to pass it as it stands, type {typed}"


def quoted(value: str) -> str:
    """Return a value in quotes of Hydra's grammar: a backslash counts as one unless it stands before a quote."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', value)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f'"{escaped}{trailing * chr(92)}"'

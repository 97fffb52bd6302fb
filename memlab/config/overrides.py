"""The words of a command line: flags, and overrides in Hydra's grammar."""

import re
from collections.abc import Iterable
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from memlab.config.explain import explain_override, quoted
from memlab.errors import UserError

MULTIRUN = ("-m", "--multirun")  # accepted and not needed: a comma in a value makes a sweep
CONFIG_DIR = ("--config-dir", "-cd")
_OF_HYDRA = ("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p", "--info", "-i")
_COMPLETION = ("--shell-completion", "-sc")
_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--info", "-i", *CONFIG_DIR)
# Content, but a path, which no folder's name shows.
PLACES = {"data.path", "evaluation.data.path", "encoder.run", "pretrained.model"}
# Overrides that change no number: a sweep that differs in these alone keeps its report's folder.
_NEUTRAL = {"logger", "runs_dir", "dry_run", "experiment", "scale", "trainer"}
_NEUTRAL_GROUPS = ("logger.", "hydra.", "hydra/", "trainer.")
_NEVER_SWEPT = {"runs_dir", "dry_run", "experiment"}


def split_words(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the flags that make Hydra print something, with their values, and the overrides.

    --config-dir FOLDER becomes an override of hydra.searchpath. Raises UserError for a flag that memlab does not know.
    """
    flags: list[str] = []
    overrides: list[str] = []
    waiting = ""  # the flag whose value may come next
    for word in words:
        if waiting and not word.startswith("-") and (waiting in CONFIG_DIR or "=" not in word):
            if waiting in CONFIG_DIR:
                overrides.append(f"hydra.searchpath=[{quoted(str(Path(word).expanduser().absolute()))}]")
            else:
                flags.append(word)
            waiting = ""
            continue
        name, equals, value = word.partition("=")
        waiting = name if name in _WITH_VALUE and not equals else ""
        if not word.startswith("-"):
            overrides.append(word)
        elif name in CONFIG_DIR and equals:
            overrides.append(f"hydra.searchpath=[{quoted(str(Path(value).expanduser().absolute()))}]")
        elif name in (*_OF_HYDRA, *_COMPLETION):
            flags.append(word)
        elif name not in (*MULTIRUN, *CONFIG_DIR):
            raise UserError(f"{word}: memlab has the flags --help, --cfg job, --info, --config-dir FOLDER and -m")
    return flags, overrides


def parse(override: str) -> Override:
    """Parse one override. Raises UserError with what to type instead."""
    try:
        parsed: Override = OverridesParser.create().parse_overrides([override])[0]
    except HydraException:
        raise UserError(explain_override(override)) from None
    key, value = key_of(parsed), override.partition("=")[2]
    if not key:
        raise UserError(explain_override(override))
    if parsed.is_sweep_override() and key in _NEVER_SWEPT:
        advice = f". {explain_override(override)}" if key == "runs_dir" else ""
        raise UserError(f"{override}: {key} takes one value per command{advice}")
    plain = value[:1] in "\"'" or isinstance(parsed.value(), str)
    if key in PLACES and not plain and Path(value).expanduser().exists():
        raise UserError(explain_override(override))
    return parsed


def replacing_lists(override: str) -> list[str]:
    """Return overrides that put a list of token mixers in the place of one mixer, which Hydra would not merge."""
    match = re.match(r"(architecture\.[\w.]+\.mixer)=(\[.*)", override, re.DOTALL)
    return [override] if match is None else [f"~{match[1]}", f"+{match[1]}={match[2]}"]


def line_of(override: Override) -> str:
    """Return an override as it was typed."""
    assert override.input_line is not None
    return override.input_line


def key_of(override: Override) -> str:
    """Return the group or key that an override is about."""
    return str(override.get_key_element()).lstrip("+~")


def is_neutral(override: Override) -> bool:
    """Whether an override changes no number of a report; what it changes of the trainer is looked at elsewhere."""
    key = key_of(override)
    return key in _NEUTRAL or key.startswith(_NEUTRAL_GROUPS)


def shown(changes: Iterable[str]) -> list[str]:
    """Return the changes that a folder's name may show: no paths."""
    return [change for change in changes if change.split("=")[0] not in PLACES and "/" not in change.partition("=")[2]]


def file_name(words: Iterable[str], longest: int) -> str:
    """Return a name of at most `longest` bytes for a folder, in letters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9=.,_-]", "-", "_".join(words))[:longest]

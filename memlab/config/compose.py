"""From a command line to the composed configs of every point of its sweep, without torch."""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memlab.config import paths
from memlab.config.explain import explain_hydra, explain_override
from memlab.config.stage import digest
from memlab.errors import UserError

# Overrides that change no number: a sweep that differs in these alone keeps its report's folder.
_NEUTRAL = {"logger", "runs_dir", "dry_run", "experiment", "scale"}
_NEUTRAL_GROUPS = ("logger.", "hydra.", "hydra/", "trainer.")
_PLACES = {"data.path", "evaluation.data.path", "encoder.run"}  # content, but a path that no folder's name shows
_TRAINED_WITH = ("precision", "batch_size", "accumulate", "clip")  # what of the trainer shapes weights
POINTS = {"architecture", "arm", "seed"}  # what an experiment sweeps
ARM_GROUPS = {"encoder", "curriculum", "objective"}
LONGEST_NAME = 80  # bytes of a report folder's name; file systems take 255


@dataclass(frozen=True)
class Sweep:
    """Points of one command line: its overrides as `given`, those of them that change the experiment, each config."""

    given: list[str]
    changes: list[str]
    configs: list[DictConfig]
    launcher: dict[str, Any]  # the group hydra/launcher, with its option's name

    @property
    def experiment(self) -> str | None:
        return self.configs[0].experiment

    @property
    def is_experiment(self) -> bool:
        return self.experiment is not None

    @property
    def runs_dir(self) -> Path:
        return Path(self.configs[0].runs_dir)

    @property
    def scale(self) -> str:
        return str(self.configs[0].scale.name)

    @property
    def other_changes(self) -> list[str]:
        """Return those that do not just say how many of the experiment's points to run."""
        return [change for change in self.changes if change.split("=")[0] not in POINTS]

    @property
    def command(self) -> str:
        """Return what to type for this sweep."""
        return shlex.join(["python", "-m", "memlab.run", *self.given])

    @property
    def report_folder(self) -> Path:
        """Return runs/reports/<experiment>/<scale>, with the changes and their hash where a sweep was changed."""
        shown = [change for change in sorted(self.changes) if change.split("=")[0] not in _PLACES]
        name = re.sub(r"[^A-Za-z0-9=.,_-]", "-", "_".join([self.scale, *shown]))[:LONGEST_NAME]
        if self.changes:
            name += f"-{digest(sorted(self.changes))[:8]}"
        return self.runs_dir / "reports" / str(self.experiment) / name


def compose_sweep(overrides: list[str]) -> Sweep:
    """Compose every point. Raises UserError, with the valid names, for an unknown group option or key."""
    with initialize_config_dir(version_base="1.3", config_dir=str(paths.conf())):
        try:
            return _compose(overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain_hydra(error)) from None


def expand_arms(arguments: Sequence[str]) -> list[str]:
    """Return a command line with every single arm=NAME replaced by what the arm stands for, for Hydra's own flags."""
    chosen = [a for a in arguments if a.startswith("arm=")]
    if len(chosen) != 1 or "," in chosen[0]:
        return list(arguments)
    with initialize_config_dir(version_base="1.3", config_dir=str(paths.conf())):
        overrides = [a for a in arguments if "=" in a and a not in chosen]
        arms = _arms(compose("config", overrides=overrides))
    return [*arguments, *_of_arm(arms, chosen[0].removeprefix("arm="))]


def _compose(overrides: list[str]) -> Sweep:
    given = [_parse(override) for override in overrides]
    # Sweeps given on the command line only take part in the points; the first look is at the rest.
    fixed = [_line(o) for o in given if not o.is_sweep_override() and o.get_key_element() != "arm"]
    first = compose("config", overrides=fixed, return_hydra_config=True)
    params = first.hydra.sweeper.get("params") or {}
    defaults = [_parse(f"{key}={value}") for key, value in params.items()]
    arms = _arms(first)
    if arms and not any(o.get_key_element() == "arm" for o in given):
        defaults.insert(0, _parse(f"arm={','.join(arms)}"))
    points = BasicSweeper.split_arguments([*defaults, *given], None)[0]
    configs = [_point(point, arms) for point in points]
    as_it_is = {o.input_line for o in defaults}
    changes = [line.lstrip("+") for o in given if (line := _line(o)) not in as_it_is and not _is_neutral(o)]
    changes += _trainer_changes(fixed, first)
    first.runs_dir = _absolute(first.runs_dir)
    OmegaConf.resolve(first.hydra.launcher)
    launcher = {"name": first.hydra.runtime.choices["hydra/launcher"], **_plain(first.hydra.launcher)}
    return Sweep(overrides, changes, configs, launcher)


def _point(overrides: Sequence[str], arms: dict[str, str]) -> DictConfig:
    """Compose one point and resolve it."""
    chosen = next((o.removeprefix("arm=") for o in overrides if o.startswith("arm=")), None)
    own = [] if chosen is None else _of_arm(arms, chosen)
    groups = {o.partition("=")[0] for o in own}
    if taken := groups & ARM_GROUPS & {o.lstrip("+").partition("=")[0] for o in overrides}:
        raise UserError(f"{min(taken)}= with arm={chosen}, which chooses it: leave out one of them")
    config = compose("config", overrides=[*own, *overrides])
    config.runs_dir = _absolute(config.runs_dir)
    config.arms = {}
    OmegaConf.resolve(config)
    if config.curriculum.name != "single" and any(re.match(r"objective[.=]", o) for o in overrides):
        raise UserError(f"objective= does nothing with curriculum={config.curriculum.name}: its stages have their own")
    return config


def _arms(config: DictConfig) -> dict[str, str]:
    """Return the experiment's arms: what each adds to the command line."""
    return {str(name): str(line) for name, line in _plain(config.arms).items()}


def _of_arm(arms: dict[str, str], name: str) -> list[str]:
    if not arms:
        raise UserError(f"arm={name}: arms belong to an experiment, add +experiment=NAME")
    if name not in arms:
        raise UserError(f"arm={name}: this experiment has the arms {', '.join(arms)}")
    return arms[name].split()


def _plain(config: DictConfig) -> dict[str, Any]:
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _absolute(runs_dir: str | None) -> str:
    """Return the runs folder's absolute path; an empty one, as of an empty MEMLAB_RUNS, is `runs`."""
    return str(Path(os.path.abspath(Path(runs_dir or "runs").expanduser())))


def _parse(override: str) -> Override:
    """Parse one override. Raises UserError with what to type instead."""
    try:
        parsed: Override = OverridesParser.create().parse_overrides([override])[0]
    except HydraException as error:
        raise UserError(explain_override(override, error)) from None
    value = override.partition("=")[2]
    is_place = parsed.get_key_element() in {*_PLACES, "runs_dir"}
    if is_place and parsed.is_sweep_override() and value[:1] not in "\"'" and Path(value).expanduser().exists():
        raise UserError(explain_override(override, None))
    return parsed


def _line(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _is_neutral(override: Override) -> bool:
    key = override.get_key_element().lstrip("+~")
    return key in _NEUTRAL or key == "trainer" or key.startswith(_NEUTRAL_GROUPS)


def _trainer_changes(fixed: Sequence[str], first: DictConfig) -> Iterator[str]:
    """Yield the trainer's values that shape weights and are not those of the scale."""
    if not any(re.match(r"trainer[.=]", o) for o in fixed):
        return
    usual = compose("config", overrides=[o for o in fixed if not re.match(r"trainer[.=]", o)])
    for key in _TRAINED_WITH:
        if first.trainer[key] != usual.trainer[key]:
            yield f"trainer.{key}={first.trainer[key]}"

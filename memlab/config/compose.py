"""From a command line to the composed configs of every point of its sweep, without torch."""

import difflib
import shlex
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memlab.config import paths
from memlab.errors import UserError

# Overrides that change no number: a sweep that differs in these alone keeps its report's folder.
_NEUTRAL = {"logger", "runs_dir", "dry_run", "trainer.threads", "trainer.workers", "experiment", "scale"}
POINTS = {"architecture", "arm", "seed"}  # what an experiment sweeps
ARM_GROUPS = {"encoder", "curriculum", "objective"}
_NEUTRAL_GROUPS = ("logger.", "hydra.", "hydra/")


@dataclass
class Sweep:
    """Points of one command line: its overrides as `given`, those of them that change the experiment, each config."""

    given: list[str]
    changes: list[str]
    configs: list[DictConfig]
    launcher: str = "basic"  # of Hydra's: basic runs the points in this process

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
        """Those that do not just say how many of the experiment's points to run."""
        return [change for change in self.changes if change.split("=")[0] not in POINTS]

    @property
    def command(self) -> str:
        """What to type for this sweep."""
        return shlex.join(["python", "-m", "memlab.run", *self.given])

    @property
    def report_folder(self) -> Path:
        """runs/reports/<experiment>/<scale>, with the overrides behind the scale where a sweep was changed."""
        name = "_".join([self.scale, *sorted(self.changes)])
        return self.runs_dir / "reports" / str(self.experiment) / name.replace("/", "-")[:150]


def compose_sweep(overrides: list[str]) -> Sweep:
    """Composes every point. Raises UserError, with the valid names, for an unknown group option or key."""
    with initialize_config_dir(version_base="1.3", config_dir=str(paths.conf())):
        try:
            return _compose(overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(_explain(error)) from None


def _compose(overrides: list[str]) -> Sweep:
    parser = OverridesParser.create()
    given = parser.parse_overrides(overrides)
    # Sweeps given on the command line only take part in the points; the first look is at the rest.
    fixed = [o.input_line for o in given if not o.is_sweep_override() and o.input_line is not None]
    hydra = compose("config", overrides=fixed, return_hydra_config=True).hydra
    params = hydra.sweeper.get("params") or {}
    defaults = parser.parse_overrides([f"{key}={value}" for key, value in params.items()])
    configs = []
    for point in BasicSweeper.split_arguments([*defaults, *given], None)[0]:
        config = compose("config", overrides=point)
        OmegaConf.resolve(config)
        if config.curriculum.name != "single" and any(o.split("=")[0].split(".")[0] == "objective" for o in point):
            raise UserError(f"objective= has no say in curriculum={config.curriculum.name}: its stages have their own")
        if config.arm is not None and (taken := ARM_GROUPS & {o.lstrip("+").split("=")[0] for o in point}):
            raise UserError(f"{min(taken)}= with arm={config.arm}, which chooses it: leave out one of them")
        configs.append(config)
    as_it_is = {o.input_line for o in defaults}
    changes = [
        o.input_line.lstrip("+")
        for o in given
        if o.input_line is not None
        and o.input_line not in as_it_is
        and not _is_neutral(o.get_key_element().lstrip("+~"))
    ]
    return Sweep(overrides, changes, configs, hydra.runtime.choices["hydra/launcher"])


def _is_neutral(key: str) -> bool:
    return key in _NEUTRAL or key.startswith(_NEUTRAL_GROUPS)


def _explain(error: Exception) -> str:
    """Hydra's message, with the keys that would have been valid where one was not."""
    message = str(error).split("\nConfig search path")[0]
    cause = error.__cause__
    if not isinstance(cause, OmegaConfBaseException):
        return message
    key, parent = str(getattr(cause, "key", "") or ""), cause.parent_node
    if parent is None or not isinstance(parent, DictConfig):
        return f"{message}\n{cause}"
    valid = [str(name) for name in parent]
    close = difflib.get_close_matches(key, valid, 1)
    guess = f" Did you mean {close[0]}?" if close else ""
    return f"unknown key {cause.full_key}.{guess} Valid keys there: {', '.join(valid)}"

"""From a command line to the composed configs of every point of its sweep, without torch."""

import difflib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memlab.config import paths
from memlab.config.explain import explain_hydra
from memlab.config.overrides import file_name, is_neutral, key_of, line_of, parse, replacing_lists, shown
from memlab.config.resolvers import register
from memlab.config.stage import digest
from memlab.errors import UserError

_TRAINED_WITH = ("precision", "batch_size", "accumulate", "clip", "train_windows")  # what of the trainer shapes weights
SWEPT = {"architecture", "arm", "seed"}  # what an experiment sweeps
KEYS = {
    *("architecture", "arm", "arms", "curriculum", "data", "dry_run", "encoder", "evaluation", "experiment", "logger"),
    *("measurement", "objective", "optimizer", "pretrained", "runs_dir", "scale", "schedule", "seed", "tokenizer"),
    "trainer",
}
ARM_GROUPS = {"encoder", "curriculum", "objective"}
LONGEST_NAME = 80  # bytes of a report folder's name ahead of the digest; file systems take 255


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
    def measures(self) -> bool:
        """Whether the command measures speed instead of training."""
        return self.configs[0].measurement is not None

    @property
    def runs_dir(self) -> Path:
        return Path(self.configs[0].runs_dir)

    @property
    def scale(self) -> str:
        return str(self.configs[0].scale.name)

    @property
    def other_changes(self) -> list[str]:
        """Return those that do not just say how many of the experiment's points to run."""
        return [change for change in self.changes if change.split("=")[0] not in SWEPT]

    @property
    def command(self) -> str:
        """Return what to type for this sweep."""
        return shlex.join(["python", "-m", "memlab.run", *self.given])

    @property
    def report_folder(self) -> Path:
        """Return runs/reports/<experiment>/<scale>, with the changes and their hash where a sweep was changed."""
        name = file_name([self.scale, *shown(sorted(self.changes))], LONGEST_NAME)
        if self.changes:
            name += f"-{digest(sorted(self.changes))[:8]}"
        return self.runs_dir / "reports" / str(self.experiment) / name


class Arm(NamedTuple):
    """One arm of an experiment: what it adds to the command line, and the architectures that have it (None: all)."""

    adds: str
    architectures: list[str] | None = None


def compose_sweep(overrides: list[str]) -> Sweep:
    """Compose every point. Raises UserError, with the valid names, for an unknown group option or key."""
    with _hydra():
        return _compose(overrides)


def expand_arms(overrides: Sequence[str]) -> list[str]:
    """Return overrides with arm=NAME in front of it replaced by what the arm stands for, for Hydra's own flags.

    Raises UserError as compose_sweep does, and for several arms.
    """
    given = [parse(override) for override in overrides]
    chosen = [o for o in given if key_of(o) == "arm"]
    if not chosen:
        return list(overrides)
    if len(chosen) > 1 or chosen[0].is_sweep_override():
        raise UserError(f"{line_of(chosen[-1])}: choose one arm to be shown")
    with _hydra():
        arms = _arms(_hydra_compose(_fixed(given)))
    return [*_of_arm(arms, str(chosen[0].value())), *overrides]


@contextmanager
def _hydra() -> Iterator[None]:
    """Let `compose` find conf/, and turn what is wrong with a command line into UserErrors."""
    register()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(paths.conf())):
            yield
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__cause__, UserError):  # of a resolver
            raise error.__cause__ from None
        raise UserError(explain_hydra(error)) from None
    except ValueError as error:
        if isinstance(error, UserError) or "Config group override" not in str(error):
            raise
        raise UserError(f"a group takes the name of an option, as in scale=smoke ({error})") from None


def _compose(overrides: list[str]) -> Sweep:
    given = [parse(override) for override in overrides]
    fixed = _fixed(given)
    first = _hydra_compose(fixed, return_hydra_config=True)
    params = first.hydra.sweeper.get("params") or {}
    defaults = [parse(f"{key}={value}") for key, value in params.items()]
    arms = _arms(first)
    if arms and not any(key_of(o) == "arm" for o in given):
        defaults.insert(0, parse(f"arm={','.join(arms)}"))
    points = BasicSweeper.split_arguments([*defaults, *given], None)[0]
    points = [point for point in points if _exists(point, arms)]
    if not points:
        raise UserError("no point is left: the arms that were chosen are of another architecture")
    # A command without arms and sweeps has one point, which is composed already.
    composed = {_without_seeds(fixed): OmegaConf.masked_copy(first, [str(key) for key in first if key != "hydra"])}
    configs = [_point(point, arms, composed) for point in points]
    as_it_is = {line_of(o) for o in defaults}
    changes = [line.lstrip("+") for o in given if (line := line_of(o)) not in as_it_is and not is_neutral(o)]
    changes += _trainer_changes(given, first)
    first.runs_dir = _absolute(first.runs_dir)
    OmegaConf.resolve(first.hydra.launcher)
    launcher = {"name": first.hydra.runtime.choices["hydra/launcher"], **_plain(first.hydra.launcher)}
    return Sweep(overrides, changes, configs, launcher)


def _hydra_compose(overrides: Iterable[str], **options: Any) -> DictConfig:
    return compose("config", overrides=[word for o in overrides for word in replacing_lists(o)], **options)


def _fixed(given: Sequence[Override]) -> list[str]:
    """Return the overrides that all points share. Arms come after them: the experiment is among them."""
    return [line_of(o) for o in given if not o.is_sweep_override() and key_of(o) != "arm"]


def _point(overrides: Sequence[str], arms: dict[str, Arm], composed: dict[tuple[str, ...], DictConfig]) -> DictConfig:
    """Compose one point and resolve it. Points that differ in their seeds alone are composed once, into `composed`."""
    others = _without_seeds(overrides)
    seeds = [o for o in overrides if o not in others]
    if others not in composed:
        composed[others] = _hydra_compose([*_own_overrides(others, arms), *others])
    config = deepcopy(composed[others])
    if seeds:
        config.seed = parse(seeds[-1]).value()
    config.runs_dir = _absolute(config.runs_dir)
    config.arms = {}
    OmegaConf.resolve(config)
    if unknown := sorted({str(key) for key in config} - KEYS):
        close = difflib.get_close_matches(unknown[0], sorted(KEYS), 1)
        guess = f" Did you mean {close[0]}?" if close else ""
        raise UserError(f"unknown key {unknown[0]}.{guess} Valid keys: {', '.join(sorted(KEYS))}")
    changes_objective = any(re.match(r"\+*objective[.=]", o) for o in overrides)
    if changes_objective and OmegaConf.select(config, "curriculum.name") != "single":
        raise UserError(f"objective= does nothing with curriculum={config.curriculum.name}: its stages have their own")
    return config


def _without_seeds(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(o for o in overrides if not o.lstrip("+").startswith("seed="))


def _exists(overrides: Sequence[str], arms: dict[str, Arm]) -> bool:
    """Whether the point's arm is one of its architecture's."""
    arm = arms.get(_last(overrides, "arm") or "")
    return arm is None or arm.architectures is None or _last(overrides, "architecture") in arm.architectures


def _own_overrides(overrides: Sequence[str], arms: dict[str, Arm]) -> list[str]:
    """Return what the point's arm stands for. Raises UserError where the command line has another choice."""
    chosen = _last(overrides, "arm")
    if chosen is None:
        return []
    own = _of_arm(arms, chosen)
    typed = {o.lstrip("+").partition("=")[0] for o in overrides}
    if taken := ARM_GROUPS & typed & {o.partition("=")[0] for o in own}:
        raise UserError(f"{min(taken)}= with arm={chosen}, which chooses it: leave out one of them")
    return own


def _last(overrides: Sequence[str], key: str) -> str | None:
    """Return the last value of a key among overrides; None if it is not there."""
    values = [o.partition("=")[2] for o in overrides if o.lstrip("+").startswith(f"{key}=")]
    return values[-1] if values else None


def _arms(config: DictConfig) -> dict[str, Arm]:
    """Return the experiment's arms. Raises UserError where one is neither a line nor {adds, architectures}."""
    how = "arms: name each arm, and what it adds to the command line, as in conf/experiment"
    if not isinstance(config.arms, DictConfig):
        raise UserError(how)
    arms = {}
    for name, of_arm in _plain(config.arms).items():
        if isinstance(of_arm, dict):
            if set(of_arm) != set(Arm._fields) or not isinstance(of_arm["architectures"], list):
                raise UserError(f"{how}; {name}: give adds and architectures, a list")
            arms[str(name)] = Arm(str(of_arm["adds"]), of_arm["architectures"])
        else:
            arms[str(name)] = Arm(str(of_arm))
    return arms


def _of_arm(arms: dict[str, Arm], name: str) -> list[str]:
    if not arms:
        raise UserError(f"arm={name}: arms belong to an experiment, add +experiment=NAME")
    if name not in arms:
        raise UserError(f"arm={name}: this experiment has the arms {', '.join(arms)}")
    return shlex.split(arms[name].adds)


def _plain(config: DictConfig) -> dict[str, Any]:
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _absolute(runs_dir: str | None) -> str:
    """Return the runs folder's absolute path; an empty one, as of an empty MEMLAB_RUNS, is `runs`."""
    return str(Path(os.path.abspath(Path(str(runs_dir or "runs")).expanduser())))


def _trainer_changes(given: Sequence[Override], first: DictConfig) -> Iterator[str]:
    """Yield the trainer's values that shape weights and are not those of the scale."""
    others = [o for o in given if key_of(o).split(".")[0] != "trainer"]
    if len(others) == len(given):
        return
    usual = _hydra_compose(_fixed(others))
    for key in _TRAINED_WITH:
        if first.trainer[key] != usual.trainer[key]:
            yield f"trainer.{key}={first.trainer[key]}"

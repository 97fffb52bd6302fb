"""The points of a command: those that are trained, and those that measure speed; without torch.

Points that measure speed take turns with the other arms of their architecture, so they belong to those arms: the
folder of a measurement, runs/measurements/<experiment>-<hash>, is named by all of them. A seed is a repetition, which
has one file of rows; more repetitions go into the same folder.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from memlab.config.stage import Chain, Config, digest

# What of the trainer can change a speed, besides what a stage has.
_SETTINGS = ("accelerator", "compile", "cache_embeddings", "matmul_precision", "threads")


def points_of(chains: Iterable[Chain]) -> list[Any]:
    """Return the points of a command as reports take them (memlab/report/collect.py)."""
    chains = list(chains)
    folders = {chain.choices["architecture"]: folder for folder, own in sessions(chains).items() for chain in own}
    return [
        _point(chain, folders[chain.choices["architecture"]]) if _measurement(chain) is not None else chain.point()
        for chain in chains
    ]


def sessions(chains: Iterable[Chain]) -> dict[Path, list[Chain]]:
    """Return the chains that measure speed, of every architecture under the folder of its measurement."""
    found: dict[str, list[Chain]] = {}
    for chain in chains:
        if _measurement(chain) is not None:
            found.setdefault(chain.choices["architecture"], []).append(chain)
    return {_folder(own): own for own in found.values()}


def repetition_file(seed: int) -> str:
    return f"repetition-{seed}.json"


def _measurement(chain: Chain) -> Config | None:
    measurement: Config | None = chain.jobs[-1].config.get("measurement")
    return measurement


def _folder(chains: list[Chain]) -> Path:
    config = chains[0].jobs[-1].config
    made_of = {chain.choices["arm"]: _made_of(chain) for chain in chains}
    return Path(config["runs_dir"]) / "measurements" / f"{config['experiment']}-{digest(made_of)}"


def _made_of(chain: Chain) -> Config:
    """Return all that can change a point's speed but the machine and the code; repetitions have it in common."""
    stage, settings = chain.jobs[-1].stage, chain.jobs[-1].settings
    return {
        "model": stage.model,
        "objective": stage.objective,
        "training": {key: value for key, value in stage.training.items() if key != "seed"},
        "freeze_encoder": stage.freeze_encoder,
        "trainer": {key: settings[key] for key in _SETTINGS},
        "measurement": _measurement(chain),
    }


def _point(chain: Chain, folder: Path) -> Config:
    file = repetition_file(chain.choices["seed"])
    return {"choices": chain.choices, "folder": folder, "measured": file, "stages": [], "encoder_stages": 0}

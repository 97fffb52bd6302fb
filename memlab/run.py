"""The command: python -m memlab.run [+experiment=NAME] [GROUP=OPTION] [KEY=VALUE] (or just `memlab`).

Every point is composed, validated and built on shapes before the first one trains, so that a mistake costs no training.
"""

import os
import sys

import hydra
from omegaconf import DictConfig

from memlab.config import paths
from memlab.config.compose import compose_sweep, expand_arms
from memlab.config.overrides import split_words
from memlab.config.plan import plan_all
from memlab.errors import fail
from memlab.pool.start import start_importing
from memlab.processes.ending import end
from memlab.processes.machine import BUSY, Others, choose_waiting
from memlab.processes.quick import rare_collections
from memlab.processes.signals import Stopped, signals
from memlab.storage.caches import keep_caches_in
from memlab.sweep import needs_workers, prepare, print_plan, require_possible, run_sweep, start_ranks


def main() -> None:
    try:
        with signals.listening():
            status = _main(sys.argv[1:])
    except Stopped as stopped:
        end(stopped)
    raise SystemExit(status)


def _main(arguments: list[str]) -> int:
    """Run a command line; return the exit status."""
    try:
        with rare_collections():
            others = Others()
            flags, overrides = split_words(arguments)
            if flags:  # --help, --cfg and the like are Hydra's business
                sys.argv[1:] = [*flags, *expand_arms(overrides)]
                _hydra()
                return 0
            sweep = compose_sweep(overrides)
            keep_caches_in(sweep.runs_dir)
            chains = plan_all(sweep.configs)
            if sweep.configs[0].dry_run:
                require_possible(sweep, chains)
                print_plan(sweep, chains)
                return 0
            start_ranks(sweep)
            workers = needs_workers(sweep, chains)
            # Torch is not imported yet: it would not see a later choice.
            signals.restartable = choose_waiting(os.environ, asleep=workers or others.cores() > BUSY)
            if workers:
                start_importing()
            prepare(sweep, chains)
    except Exception as error:
        fail(error, 2)
    try:
        return run_sweep(sweep, chains)
    except Exception as error:
        fail(error, 1)


@hydra.main(version_base="1.3", config_path=str(paths.conf()), config_name="config")
def _hydra(config: DictConfig) -> None:
    raise AssertionError("Hydra's own flags print something and end")


if __name__ == "__main__":
    main()

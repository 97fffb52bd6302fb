"""The command: python -m memlab.run [+experiment=NAME] [GROUP=OPTION] [KEY=VALUE] (or just `memlab`).

Every point is composed, validated and built on shapes before the first one trains, so that a mistake costs no training.
"""

import sys
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from memlab import paths
from memlab.compose import compose_sweep
from memlab.errors import explain, is_disk_trouble
from memlab.plan import plan
from memlab.sweep import is_sweep, print_plan, session

MULTIRUN_FLAGS = ("-m", "--multirun")


def main() -> None:
    arguments = sys.argv[1:]
    # --help, --cfg and the like are Hydra's business.
    if all(a in MULTIRUN_FLAGS for a in arguments if a.startswith("-")):
        try:
            sweep = compose_sweep([a for a in arguments if not a.startswith("-")])
            chains = [plan(config) for config in sweep.configs]
            if sweep.configs[0].dry_run:
                print_plan(chains)
                return
            if len(chains) > 1 and not sweep.is_experiment and not set(arguments) & set(MULTIRUN_FLAGS):
                sys.argv.append(MULTIRUN_FLAGS[0])  # a comma makes a sweep
            session.expect(sweep, chains)
        except Exception as error:
            fail(error, 2)
    _run()
    if session.failures:
        raise SystemExit(1)


def fail(error: Exception, status: int) -> NoReturn:
    """Ends the program with one message; an error nobody foresaw goes on as it is."""
    message = explain(error)
    if message is None:
        raise error
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(status) from None


@hydra.main(version_base="1.3", config_path=str(paths.conf()), config_name="config")
def _run(config: DictConfig) -> None:
    try:
        if config.dry_run:
            print_plan([plan(config)])
            return
        session.run_point(plan(config))
    except Exception as error:
        message = explain(error)
        # Other points may do well, but where the disk is full they would fail too.
        if message is None or is_disk_trouble(error) or not is_sweep():
            fail(error, 1)
        print(f"error: {message}\nGoing on with the next point.", file=sys.stderr)
        session.failures.append(message)


if __name__ == "__main__":
    main()

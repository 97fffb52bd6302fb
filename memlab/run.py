"""The command: python -m memlab.run [+experiment=NAME] [GROUP=OPTION] [KEY=VALUE] (or just `memlab`).

Every point is composed, validated and built on shapes before the first one trains, so that a mistake costs no training.
"""

import sys
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from memlab.config import paths
from memlab.config.compose import Sweep, compose_sweep
from memlab.config.plan import plan
from memlab.errors import UserError, fail
from memlab.processes import ranks
from memlab.processes.signals import Stopped, signals
from memlab.sweep import print_plan, run_point, session

MULTIRUN_FLAGS = ("-m", "--multirun")


def main() -> None:
    try:
        with signals.listening():
            _main(sys.argv[1:])
    except Stopped as stopped:
        _end(stopped)
    if session.failures:
        raise SystemExit(1)


def _main(arguments: list[str]) -> None:
    # --help, --cfg and the like are Hydra's business.
    if all(a in MULTIRUN_FLAGS for a in arguments if a.startswith("-")):
        try:
            sweep = compose_sweep([a for a in arguments if not a.startswith("-")])
            chains = [plan(config) for config in sweep.configs]
            if sweep.configs[0].dry_run:
                print_plan(chains)
                return
            is_sweep = len(chains) > 1 or sweep.launcher != "basic"  # a launcher starts the points of sweeps only
            if is_sweep and not sweep.is_experiment and not set(arguments) & set(MULTIRUN_FLAGS):
                sys.argv.append(MULTIRUN_FLAGS[0])
            _start_ranks(sweep)
            session.expect(sweep, chains)
        except Exception as error:
            fail(error, 2)
    _run()


def _start_ranks(sweep: Sweep) -> None:
    """Where trainer.devices asks for several processes, this one ends when they have ended, unless it is one."""
    trainer = sweep.configs[0].trainer
    devices = trainer.devices * trainer.nodes
    if sweep.launcher != "basic":
        return  # the jobs have their tasks
    ranks.adopt_slurm(devices)
    if ranks.world() == devices:
        ranks.silence_others()
        return
    if ranks.world() > 1 or trainer.nodes > 1:
        raise UserError(
            f"trainer.devices={trainer.devices} and trainer.nodes={trainer.nodes}, but {ranks.world()} processes were"
            " started: take hydra/launcher=slurm, or start one process per device with srun or torchrun"
        )
    from memlab.processes.spawn import run_ranks, this_command

    raise SystemExit(run_ranks(this_command(), devices))


def _end(stopped: Stopped) -> NoReturn:
    """After a signal, with everything saved: back into SLURM's queue if that is what it was for."""
    if ranks.is_first():
        from memlab.processes.slurm import goes_on_later, requeue

        again = goes_on_later(stopped) and requeue()
        how = "the job is in the queue again" if again else "run the same command again: it goes on from there"
        print(f"{stopped}, everything is saved; {how}", file=sys.stderr)
    ranks.wait_for_first()
    raise SystemExit(stopped.status)


@hydra.main(version_base="1.3", config_path=str(paths.conf()), config_name="config")
def _run(config: DictConfig) -> str | None:
    try:
        if config.dry_run:
            print_plan([plan(config)])
            return None
        return run_point(config)
    except Exception as error:
        fail(error, 1)


if __name__ == "__main__":
    main()

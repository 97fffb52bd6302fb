"""Chains of stages: reuse what is finished, resume what was interrupted, train the rest."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import torch

from memlab.config.stage import Chain, Job
from memlab.errors import explain, is_disk_trouble
from memlab.processes import ranks
from memlab.processes.cpu import prepare_cpu
from memlab.processes.signals import signals
from memlab.progress import console, duration
from memlab.storage.lock import Lock, LockLostError, locked
from memlab.training.estimate import Workload
from memlab.training.evaluate import evaluate
from memlab.training.guard import DivergedError
from memlab.training.loggers import Loggers
from memlab.training.stage import train_stage
from memlab.training.trainer import on_gpu


class BusyError(Exception):
    """Another process works on a stage that is needed next."""


def run_chains(chains: Sequence[Chain], threads: int | None = None) -> list[str]:
    """Finish every stage of every chain in this process; return the messages of what failed.

    threads: of the CPU; None: trainer.threads, or else what torch chooses.
    A chain whose next stage another process works on is put off until the other chains are done. A failure of one chain
    does not stop the others, unless they would fail as well (a full disk) or several ranks could part ways.
    """
    settings = chains[0].jobs[0].settings
    prepare_cpu()
    if (threads := threads or settings["threads"]) is not None:
        torch.set_num_threads(threads)
    ranks.join(on_gpu(settings))
    workload = Workload()
    for chain in chains:
        workload.add(chain.jobs)
    failures: list[str] = []
    waiting = list(enumerate(chains, 1))
    put_off = 0  # chains in a row that could not go on: once none can, one is waited for
    while waiting:
        number, chain = waiting.pop(0)
        _announce(chain, f"point {number} of {len(chains)}: " if len(chains) > 1 else "")
        try:
            run_chain(chain.jobs, workload, wait=put_off >= len(waiting))
            put_off = 0
        except BusyError:
            console.print("another process works on the next stage: put off", markup=False)
            waiting.append((number, chain))
            put_off += 1
        except Exception as error:
            message = explain(error)
            alone = ranks.world() > 1 and not isinstance(error, DivergedError)  # an error that other ranks may not meet
            if message is None or is_disk_trouble(error) or alone or len(chains) == 1:
                raise
            going_on = "\nGoing on with the next point." if waiting else ""
            print(f"error: {message}{going_on}", file=sys.stderr)
            failures.append(message)
    return failures


def run_chain(jobs: Sequence[Job], workload: Workload | None, wait: bool = True) -> None:
    """Finish every stage, in order. What was finished before an error stays usable.

    workload: of the command, for the bar of all stages; None: there is no such bar. A stage that another process works
    on is waited for; unless `wait`, it raises BusyError. A signal that ends the command raises
    memlab.processes.signals.Stopped, after a checkpoint.
    """
    with signals.listening():
        for job in jobs:
            restarts = job.settings["restarts"]
            while not ranks.agreed(job.done):
                try:
                    _run_locked(job, workload, wait)
                except LockLostError as error:
                    console.print(f"{error}: waiting for it", markup=False)
                except DivergedError as error:
                    if not restarts:
                        raise
                    restarts -= 1
                    console.print(f"{error}\nonce more from there (trainer.restarts)", markup=False)


def _run_locked(job: Job, workload: Workload | None, wait: bool) -> None:
    """Finish a stage, unless another process has done so by the time that its lock is free."""
    if ranks.is_first():
        waiting = f"another process works on {job.folder.path.name}: waiting for it"
        with locked(job.folder.lock, waiting, until=lambda: job.done, wait=wait) as lock:
            if ranks.agreed(lock is not None):
                with _noted(job):
                    _finish(job, workload, lock)
    elif ranks.agreed(False):
        _finish(job, workload, None)  # under the lock of rank 0
    if not (wait or ranks.agreed(job.done)):
        raise BusyError


@contextmanager
def _noted(job: Job) -> Iterator[None]:
    """Keep an error that ends the stage in its folder, for memlab.runs."""
    try:
        job.folder.note_failure(None)
        yield
    except Exception as error:
        with suppress(OSError):  # the disk may be what is wrong
            job.folder.note_failure(explain(error) or traceback.format_exc())
        raise


def _finish(job: Job, workload: Workload | None, lock: Lock | None) -> None:
    if ranks.agreed(job.done):
        return
    folder = job.folder
    loggers = Loggers(job)
    try:
        # Weights without finished.json: an evaluation was interrupted, or is asked for in another way now.
        if not ranks.agreed(folder.weights.is_file()):
            train_stage(job, loggers, lock, workload)
        if ranks.is_first():
            evaluate(job)
            loggers.log_evaluations()
    finally:
        loggers.close()
    if ranks.is_first():
        if not folder.finished:
            folder.write_metrics_csv()
            folder.remove_checkpoints()  # the weights are there; optimizer states are twice their size
            folder.finish()
        _say_finished(job)


def _announce(chain: Chain, place: str) -> None:
    open_stages = list(dict.fromkeys(job.stage.name for job in chain.jobs if not job.done))
    todo = "finished" if not open_stages else f"to do: {', '.join(open_stages)}"
    console.print(f"{place}{chain.label}: {todo}", markup=False)


def _say_finished(job: Job) -> None:
    scores = [
        f"{metrics['token_accuracy']:.1%}"
        for metrics in job.folder.read_evaluation(job.evaluations[0].file)["metrics"].values()
        if "token_accuracy" in metrics
    ]
    accuracy = f", token accuracy {', '.join(scores)}" if scores else ""
    time = ""
    with suppress(OSError, ValueError, KeyError, TypeError):  # a damaged file; `memlab.runs verify` reports it
        time = f" in {duration(job.folder.read_provenance()['seconds'])}"
    steps = job.stage.training["steps"]
    console.print(f"{job.folder.path.name}: {steps:,} steps{time}{accuracy}", markup=False)

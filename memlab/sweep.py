"""The points of one command: each is trained in its turn, the report is made when the last one ends."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from memlab.config.compose import Sweep, compose_sweep
from memlab.config.plan import Job, choices, plan, point
from memlab.errors import UserError, explain, is_disk_trouble
from memlab.processes import ranks
from memlab.progress import console
from memlab.report.collect import Point, Row, is_finished, label
from memlab.storage.files import read_json, write_json

if TYPE_CHECKING:
    from memlab.training.estimate import Workload


class Session:
    """What this process has to do, and what went wrong. memlab.run fills it; a job on another machine starts anew."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.points = 0
        self._started = 0
        self._postponed: list[list[Job]] = []
        self._workload: Workload | None = None

    def expect(self, sweep: Sweep, chains: list[list[Job]]) -> None:
        """Counts what is to do, and prepares its data.

        Raises UserError if a model, an objective or the data of it cannot be made, or if points of an experiment
        differ in what its report does not tell apart.
        """
        self.points = len(chains)
        if sweep.is_experiment:
            _require_distinct(chains)
        if not all(job.done for jobs in chains for job in jobs):
            for jobs in chains:
                self.workload.expect(jobs)
            from memlab.training.pipeline import require_texts

            texts = {(e.file, job.stage.data["hash"]): job for jobs in chains for job in jobs for e in job.evaluations}
            for job in texts.values():
                require_texts(job)
        if sweep.is_experiment and ranks.is_first():
            _write_points(sweep, chains)

    @property
    def workload(self) -> "Workload":
        if self._workload is None:
            from memlab.training.estimate import Workload

            self._workload = Workload()
        return self._workload

    def run_point(self, jobs: list[Job]) -> None:
        """Finishes every stage of a point. Nothing heavy is imported if that is so already.

        A point whose next stage another process works on is put off until the last point of the sweep was there.
        """
        self._started += 1
        place = f"point {self._started} of {self.points}: " if self.points > 1 else ""
        open_stages = list(dict.fromkeys(job.stage.name for job in jobs if not job.done))
        todo = "finished" if not open_stages else f"to do: {', '.join(open_stages)}"
        console.print(f"{place}{label(choices(jobs[-1]))}: {todo}", markup=False)
        more_to_come = self._started < self.points
        if ranks.world() > 1:
            from memlab.training.trainer import on_gpu

            ranks.join(on_gpu(jobs[0].settings))
        if ranks.agreed(bool(open_stages)) and not self._run(jobs, wait=not (more_to_come or self._postponed)):
            console.print("another process works on its next stage: put off", markup=False)
            self._postponed.append(jobs)
        if not more_to_come:
            self._run_postponed()
        if not is_sweep():
            _print_single(jobs[-1])

    def _run_postponed(self) -> None:
        """Those that can go on first; once none can, one is waited for."""
        waiting = 0  # points in a row that could not go on
        while self._postponed:
            jobs = self._postponed.pop(0)
            if self._run(jobs, wait=waiting > len(self._postponed)):
                waiting = 0
            else:
                self._postponed.append(jobs)
                waiting += 1

    def _run(self, jobs: list[Job], wait: bool) -> bool:
        """Whether the point has come to its end: not if it would have to wait. A failure is one."""
        from memlab.training.guard import DivergedError
        from memlab.training.pipeline import BusyError, run_chain

        try:
            run_chain(jobs, self.workload, wait)
        except BusyError:
            return False
        except Exception as error:
            message = explain(error)
            # Other points may do well, but where the disk is full they would fail too, and of several ranks the others
            # may not have met the error: all of them do where a loss diverges.
            alone = ranks.world() > 1 and not isinstance(error, DivergedError)
            if message is None or is_disk_trouble(error) or alone or not is_sweep():
                raise
            print(f"error: {message}\nGoing on with the next point.", file=sys.stderr)
            self.failures.append(message)
        return True


class NothingFinishedError(UserError):
    """A report was asked for of a sweep without a finished point."""


session = Session()


def run_point(config: DictConfig) -> str | None:
    """A point of a sweep, in this process or as a job in another one; the messages of what failed, None if nothing."""
    failed_before = len(session.failures)
    session.run_point(plan(config))
    return "\n".join(session.failures[failed_before:]) or None


POINTS = "points.json"
COMMAND = "command.json"  # beside it: the sweep's overrides


def is_sweep() -> bool:
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def print_plan(chains: list[list[Job]]) -> None:
    from memlab.training import dry_run

    dry_run.print_plan(chains)


def _require_distinct(chains: list[list[Job]]) -> None:
    folders: dict[str, Any] = {}
    for jobs in chains:
        name = label(choices(jobs[-1]))
        if folders.setdefault(name, jobs[-1].folder.path) != jobs[-1].folder.path:
            raise UserError(
                f"two points are {name}, which is what a report tells them apart by: sweep other values by one command"
                " each; every changed sweep gets a report folder of its own"
            )


def _write_points(sweep: Sweep, chains: list[list[Job]]) -> None:
    """Which run folders a sweep's report is made of: read again where its text or tokenizer is not at hand."""
    write_json(sweep.report_folder / COMMAND, sweep.given)
    points = [point(jobs) for jobs in chains]
    write_json(
        sweep.report_folder / POINTS,
        [
            {**p, "folder": Path(p["folder"]).name, "stages": [Path(stage).name for stage in p["stages"]]}
            for p in points
        ],
    )


def _points(sweep: Sweep) -> list[Point]:
    """The points of a sweep, from its config; from what the last run of it wrote down, where its text is not here."""
    written = sweep.report_folder / POINTS
    try:
        points: list[Any] = [point(plan(config)) for config in sweep.configs]
        if any(is_finished(p) for p in points) or not written.is_file():
            return points
    except UserError:
        if not written.is_file():
            raise
    stages = sweep.runs_dir / "stages"
    kept: list[Any] = read_json(written)
    for p in kept:
        p.update(folder=stages / p["folder"], stages=[stages / stage for stage in p["stages"]])
    return kept


def all_finished(sweep: Sweep) -> bool:
    return all(map(is_finished, _points(sweep)))


def make_sweep_report(sweep: Sweep, kept: Sequence[Row] = ()) -> Any:
    """Writes and prints the report of a sweep's finished points; `kept`: see make_report.

    Raises NothingFinishedError (a UserError) where none is finished.
    """
    from memlab.report import make_report, print_report

    if sweep.experiment is None:
        raise UserError("there is no report without an experiment: add +experiment=NAME")
    points = _points(sweep)
    if not any(is_finished(point) for point in points):
        raise NothingFinishedError(
            f"no point of this sweep is finished in {sweep.runs_dir}: run it first, {sweep.command};"
            " or redraw the results that came with the code: python -m memlab.report --from-results"
        )
    report = make_report(sweep.experiment, sweep.scale, points, sweep.report_folder, sweep.command, kept)
    print_report(report, console)
    return report


def make_committed_report(sweep: Sweep, name: str) -> Any:
    """Writes and prints the report of results that the repository has, results/<name>.json of the experiment.

    Its folder lies beside the one for run folders. Raises UserError where there are no such results.
    """
    from memlab.report import print_report, redraw

    if sweep.experiment is None:
        raise UserError("there is no report without an experiment: add +experiment=NAME")
    report = redraw(sweep.experiment, name, sweep.report_folder.with_name(f"{name}_committed"))
    print_report(report, console)
    return report


class ReportAtEnd(Callback):
    """The Hydra callback of an experiment."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        GlobalHydra.instance().clear()  # the command is over; its points are composed once more for the report
        launcher = [o for o in config.hydra.overrides.hydra if o.startswith(("hydra/launcher", "hydra.launcher"))]
        sweep = compose_sweep([*config.hydra.overrides.task, *launcher])
        failures = list(session.failures)
        try:
            report = make_sweep_report(sweep)
            _print_next(sweep, report)
        except Exception as error:
            failures.append(explain(error) or traceback.format_exc())
        for message in dict.fromkeys(failures):
            print(f"error: {message}", file=sys.stderr)
        if failures:
            raise SystemExit(1)  # Hydra turns an ordinary exception of a callback into a warning, and ends with 0


def _print_next(sweep: Sweep, report: Any) -> None:
    given = [a for a in sweep.given if not a.startswith(("architecture=", "seed="))]
    wider = " ".join(["python -m memlab.run", *given, "architecture=mixer,transformer seed=0,1,2"])
    again = sweep.command.replace("memlab.run", "memlab.report")
    console.print(
        f"pictures: {', '.join(map(str, report.pictures))}\n"
        f"next:    {wider}   # both architectures, spread over seeds\n"
        f"         {again}   # this report again, from the run folders",
        markup=False,
    )


def _print_single(job: Job) -> None:
    """The end of a command without an experiment."""
    from rich.table import Table

    table = Table("metric", "value", title=f"{job.stage.name}, {label(choices(job))}", title_justify="left")
    for evaluation in job.evaluations:
        metrics = job.folder.read_evaluation(evaluation.file)["metrics"]
        for name, value in _flat(metrics, evaluation.prefix).items():
            table.add_row(name, f"{value:.4g}")
    console.print(table)
    console.print(
        f"run folder: {job.folder.relative()} (metrics.csv, evaluation.json, samples.jsonl, model.safetensors)\n"
        "next:       python -m memlab.run +experiment=copy_curriculum",
        markup=False,
    )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in values.items():
        flat.update(_flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {prefix + name: value})
    return flat

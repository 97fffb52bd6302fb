"""The points of one command: each is trained in its turn, the report is made when the last one ends."""

import sys
import traceback
from typing import TYPE_CHECKING, Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from memlab.compose import Sweep, compose_sweep
from memlab.errors import explain
from memlab.plan import Job, choices, plan, point
from memlab.progress import console
from memlab.report.collect import is_finished, label

if TYPE_CHECKING:
    from memlab.estimate import Workload


class Session:
    """What this process has to do, and what went wrong. memlab.run fills it; a job on another machine starts anew."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.points = 0
        self._started = 0
        self._workload: Workload | None = None

    def expect(self, chains: list[list[Job]]) -> None:
        """Counts what is to do. Raises ValueError if a model or an objective of it cannot be built."""
        self.points = len(chains)
        if not all(job.done for jobs in chains for job in jobs):
            for jobs in chains:
                self.workload.expect(jobs)

    @property
    def workload(self) -> "Workload":
        if self._workload is None:
            from memlab.estimate import Workload

            self._workload = Workload()
        return self._workload

    def run_point(self, jobs: list[Job]) -> None:
        """Finishes every stage of a point. Nothing heavy is imported if that is so already."""
        self._started += 1
        place = f"point {self._started} of {self.points}: " if self.points > 1 else ""
        open_stages = list(dict.fromkeys(job.stage.name for job in jobs if not job.done))
        todo = "finished" if not open_stages else f"to do: {', '.join(open_stages)}"
        console.print(f"{place}{label(choices(jobs[-1]))}: {todo}", markup=False)
        if open_stages:
            from memlab.pipeline import run_chain

            run_chain(jobs, self.workload)
        if not is_sweep():
            _print_single(jobs[-1])


session = Session()


def is_sweep() -> bool:
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def make_sweep_report(sweep: Sweep) -> Any:
    """Writes and prints the report of a sweep's finished points. Raises ValueError where none is finished."""
    from memlab.report import make_report, print_report

    if sweep.experiment is None:
        raise ValueError("there is no report without an experiment: add +experiment=NAME")
    points: list[Any] = [point(plan(config)) for config in sweep.configs]
    if not any(is_finished(point) for point in points):
        raise ValueError(f"no point of this sweep is finished in {sweep.runs_dir}: run it first, {sweep.command}")
    scale = sweep.configs[0].scale.name
    report = make_report(sweep.experiment, scale, points, sweep.report_folder, sweep.command)
    print_report(report, console)
    return report


class ReportAtEnd(Callback):
    """The Hydra callback of an experiment."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        GlobalHydra.instance().clear()  # the command is over; its points are composed once more for the report
        sweep = compose_sweep(list(config.hydra.overrides.task))
        failures = list(session.failures)
        try:
            report = make_sweep_report(sweep)
            _print_next(sweep, report)
        except Exception as error:
            failures.append(explain(error) or traceback.format_exc())
        for message in failures:
            print(f"error: {message}", file=sys.stderr)
        if failures:
            raise SystemExit(1)  # Hydra turns an ordinary exception of a callback into a warning, and ends with 0


def _print_next(sweep: Sweep, report: Any) -> None:
    given = [a for a in sweep.given if not a.startswith(("architecture=", "seed="))]
    wider = " ".join(["python -m memlab.run", *given, "architecture=mixer,transformer seed=0,1,2"])
    again = sweep.command.replace("memlab.run", "memlab.report")
    console.print(
        f"picture: {report.folder / 'figure.png'}\n"
        f"next:    {wider}   # both architectures, spread over seeds\n"
        f"         {again}   # this report again, from the run folders",
        markup=False,
    )


def _print_single(job: Job) -> None:
    """The end of a command without an experiment."""
    from rich.table import Table

    table = Table("metric", "value", title=f"{job.stage.name}, {label(choices(job))}", title_justify="left")
    for name, value in _flat(job.folder.read_evaluation()["metrics"]).items():
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

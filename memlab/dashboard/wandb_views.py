"""Saved views and reports of a project of Weights & Biases, made by code.

  python -m memlab.dashboard wandb                       the views, and a report for each experiment that has one here
  python -m memlab.dashboard wandb --show views.json     write their definitions into a file, and send nothing

Views: an overview, one per experiment, the curriculum by its stages, speed. The same command again replaces them.
Send the runs themselves with `wandb sync runs/wandb/offline-run-*`. Exit status: 0, or 2 for a mistake.
"""

import argparse
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from memlab.config import paths
from memlab.errors import UserError, fail
from memlab.progress import console
from memlab.storage.files import write_json
from memlab.storage.wandb_folder import AXES

PROJECT = "memlab"
CURRICULUM = ("autoencoder", "blank_copy", "copy")  # its stages, in order
SECTIONS = {  # title: metrics, each a chart against the step
    "Held-out text": ("val/token_accuracy", "val/cross_entropy", "val/entropy_ratio"),
    "Training": ("train/cross_entropy", "train/gradient_norm", "train/clipped", "train/learning_rate"),
    "Memories": ("encoder/effective_rank", "encoder/norm", "encoder/nearest_distance"),
    "Speed": ("speed/tokens_per_second", "speed/share_of_peak", "memory/peak_gib"),
}
BY_PLACE = "val/accuracy_at/.*"
TEXTS = "val/reconstructions"


def main(arguments: list[str]) -> None:
    options = _parser().parse_args(arguments)
    try:
        import wandb

        if options.show is not None:
            write_json(options.show, definitions(options.project, options.runs_dir))
            console.print(f"definitions: {options.show}; nothing was sent", markup=False)
            return
        try:
            api = wandb.Api()
            entity = options.entity or api.default_entity
        except wandb.errors.Error as error:
            hint = "`wandb login` first; --show FILE writes the definitions without a login"
            raise UserError(f"Weights & Biases cannot be asked ({error}): {hint}") from None
        if not entity:
            raise UserError("Weights & Biases knows no entity of yours: give --entity")
        send(api, entity, options.project, options.runs_dir)
    except Exception as error:
        fail(error, 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m memlab.dashboard wandb",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--entity", help="your user or team name; default: that of your login")
    parser.add_argument("--project", default=PROJECT, help=f"default: {PROJECT}, as conf/logger/wandb.yaml has it")
    default = os.environ.get("MEMLAB_RUNS") or "runs"
    parser.add_argument(
        "--runs-dir", type=Path, default=default, help="where reports are; default: MEMLAB_RUNS, or runs"
    )
    parser.add_argument("--show", type=Path, metavar="FILE", help="write the definitions as JSON instead")
    return parser


def experiments() -> list[str]:
    return sorted(path.parent.name for path in paths.experiments().glob("*/expected.yaml"))


def views(entity: str, project: str) -> Iterator[Any]:
    """Yield the workspaces: the overview, one per experiment, the curriculum's stages, and speed."""
    import wandb_workspaces.workspaces as ws

    def view(name: str, filters: str, groups: tuple[str, ...], first: str, axis: str = "step") -> Any:
        return ws.Workspace(
            entity=entity,
            project=project,
            name=f"{PROJECT}: {name}",
            sections=[*_sections(first, axis)],
            settings=ws.WorkspaceSettings(x_axis=AXES[axis]),
            runset_settings=ws.RunsetSettings(filters=filters, groupby=[ws.Metric(group) for group in groups]),
        )

    stages = ", ".join(f"'{stage}'" for stage in CURRICULUM)
    yield view("overview", "JobType != 'report'", ("Group", "JobType"), "Held-out text")
    for name in experiments():
        yield view(name, f"Group = '{name}' and JobType != 'report'", (), "Held-out text")
    yield view(
        "the curriculum's stages",
        f"Group = 'copy_curriculum' and JobType in [{stages}]",
        ("JobType",),
        "Held-out text",
        "tokens",
    )
    yield view("speed", "JobType != 'report'", ("Group",), "Speed", "seconds")


def reports(entity: str, project: str, runs_dir: Path) -> Iterator[Any]:
    """Yield a report for each experiment that has one in the runs folder: its text, and charts of its runs."""
    import wandb_workspaces.reports.v2 as wr

    for name in experiments():
        text = _newest(runs_dir, name)
        if text is None:
            continue
        panels = [_plot(metric, AXES["step"]) for metric in SECTIONS["Held-out text"]]
        runs = wr.Runset(entity=entity, project=project, name=name, filters=f"Group = '{name}'")
        yield wr.Report(
            entity=entity,
            project=project,
            title=f"{PROJECT}: {name}",
            description="Written by python -m memlab.dashboard wandb",
            blocks=[
                wr.MarkdownBlock(text=text),
                wr.H2(text="Training"),
                wr.PanelGrid(runsets=[runs], panels=panels),
            ],
        )


def definitions(project: str, runs_dir: Path) -> dict[str, dict[str, Any]]:
    """Return what would be sent, as plain values: views and reports by name."""
    found: dict[str, dict[str, Any]] = {"views": {}, "reports": {}}
    for view in views("", project):  # the library looks an entity up
        found["views"][view.name] = _plain(view._to_model().spec)
    for report in reports("", project, runs_dir):
        found["reports"][report.title] = _plain(report._to_model().spec)
    return found


def send(api: Any, entity: str, project: str, runs_dir: Path) -> None:
    """Save all views and reports; those of the same name are replaced. Raises UserError for a project without runs."""
    known = _known(api, entity, project, "project-view")
    for view in views(entity, project):
        # The library saves a view over another one by these two alone; it has no public way to name them.
        view._internal_id, view._internal_name = known.get(view.name, ("", ""))
        view.save()
        console.print(f"view: {view.url}", markup=False)
    known = _known(api, entity, project, "runs")
    for report in reports(entity, project, runs_dir):
        report.id = known.get(report.title, ("", ""))[0]
        report.save()
        console.print(f"report: {report.url}", markup=False)


QUERY = """
query Views($entity: String!, $project: String!, $kind: String!) {
  project(entityName: $entity, name: $project) {
    allViews(viewType: $kind) { edges { node { id name displayName } } }
  }
}
"""


def _known(api: Any, entity: str, project: str, kind: str) -> dict[str, tuple[str, str]]:
    """Return id and internal name of the project's views or reports, by the name that a person sees.

    Raises UserError if there is no such project.
    """
    from wandb_workspaces._graphql import execute_graphql

    answer = execute_graphql(api, QUERY, {"entity": entity, "project": project, "kind": kind})
    if answer.get("project") is None:
        raise UserError(
            f"there is no project {entity}/{project}: send runs first, `wandb sync runs/wandb/offline-run-*`"
        )
    edges = (answer["project"].get("allViews") or {}).get("edges", [])
    return {edge["node"]["displayName"]: (edge["node"]["id"], edge["node"]["name"]) for edge in edges}


def _sections(first: str, axis: str) -> Iterator[Any]:
    """Yield the sections, the `first` one on top and open."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    for title in sorted(SECTIONS, key=lambda title: title != first):
        panels = [_plot(metric, AXES[axis]) for metric in SECTIONS[title]]
        if title == "Held-out text":
            panels.append(wr.LinePlot(title="accuracy by place in the chunk", x=AXES[axis], metric_regex=BY_PLACE))
        yield ws.Section(name=title, panels=panels, is_open=title in (first, "Held-out text"))
    yield ws.Section(name="Texts", panels=[wr.WeavePanelSummaryTable(table_name=TEXTS)])


def _plot(metric: str, axis: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(title=metric.partition("/")[2].replace("_", " "), x=axis, y=[metric])


def _newest(runs_dir: Path, experiment: str) -> str | None:
    """Return the text of the experiment's newest report, without its pictures, which lie beside it."""
    found = sorted(runs_dir.glob(f"reports/{experiment}/*/report.md"), key=lambda path: path.stat().st_mtime)
    if not found:
        return None
    lines: Iterable[str] = found[-1].read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not re.match(r"!\[.*\]\(.*\)$", line))


def _plain(spec: Any) -> Any:
    return json.loads(spec.model_dump_json(by_alias=True, exclude_none=True))

"""Saved views and reports of a project of Weights & Biases, made by code.

  python -m memlab.dashboard wandb                       the views, and a report for each experiment that has one here
  python -m memlab.dashboard wandb --show views.json     write their definitions into a file, and send nothing
  python -m memlab.dashboard wandb --from-results        reports of the results that came with the code

Views: an overview, one per experiment, the curriculum by its stages, speed. The same command again replaces them.
Send the runs themselves with `wandb sync runs/wandb/offline-run-*`. Exit status: 0, or 2 for a mistake.
"""

import argparse
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
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
TITLES = {  # of charts that their metric's own name does not explain
    "train/clipped": "share of clipped steps",
    "encoder/norm": "mean norm of memories",
    "encoder/nearest_distance": "distance to the nearest memory",
    "speed/share_of_peak": "share of the machine's peak",
    "memory/peak_gib": "peak memory (GiB)",
}
BY_PLACE = "val/accuracy_at/.*"
TEXTS = "val/reconstructions"


def main(arguments: list[str]) -> None:
    options = _parser().parse_args(arguments)
    try:
        import wandb

        texts = committed_texts() if options.from_results else texts_of(newest_reports(options.runs_dir))
        if options.show is not None:
            write_json(options.show, definitions(options.project, texts))
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
        send(api, entity, options.project, texts)
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
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--from-results", action="store_true", help="reports of experiments/*/results instead of runs")
    default = os.environ.get("MEMLAB_RUNS") or "runs"
    source.add_argument(
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


def reports(entity: str, project: str, texts: Mapping[str, str]) -> Iterator[Any]:
    """Yield a report for each experiment that has a text: the text, and charts of its runs."""
    import wandb_workspaces.reports.v2 as wr

    for name, text in texts.items():
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


def definitions(project: str, texts: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what would be sent, as plain values: views and reports by name. texts: of reports, by experiment."""
    found: dict[str, dict[str, Any]] = {"views": {}, "reports": {}}
    for view in views("", project):  # the library looks an entity up
        found["views"][view.name] = _plain(view._to_model().spec)
    for report in reports("", project, texts):
        found["reports"][report.title] = _plain(report._to_model().spec)
    return found


def send(api: Any, entity: str, project: str, texts: Mapping[str, str]) -> None:
    """Save all views and reports; those of the same name are replaced. Raises UserError for a project without runs."""
    known = _known(api, entity, project, "project-view")
    for view in views(entity, project):
        # The library saves a view over another one by these two alone; it has no public way to name them.
        view._internal_id, view._internal_name = known.get(view.name, ("", ""))
        view.save()
        console.print(f"view: {view.url}", markup=False)
    known = _known(api, entity, project, "runs")
    for report in reports(entity, project, texts):
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

    title = TITLES.get(metric, metric.partition("/")[2].replace("_", " "))
    return wr.LinePlot(title=title, x=axis, y=[metric])


def newest_reports(runs_dir: Path) -> dict[str, Path]:
    """Return the newest report of each experiment that has one in the runs folder."""
    found = {name: list(runs_dir.glob(f"reports/{name}/*/report.md")) for name in experiments()}
    return {name: max(paths, key=lambda path: path.stat().st_mtime) for name, paths in found.items() if paths}


def texts_of(reports: Mapping[str, Path]) -> dict[str, str]:
    """Return the texts of reports, without their pictures, which lie beside them."""
    return {name: _text(path) for name, path in reports.items()}


def committed_texts() -> dict[str, str]:
    """Return the committed results of each experiment that has any, all of an experiment's as one text."""
    found = {name: sorted((paths.experiments() / name / "results").glob("*.md")) for name in experiments()}
    return {
        name: "\n\n".join(f"# results/{file.name}\n\n{_text(file)}" for file in files)
        for name, files in found.items()
        if files
    }


def _text(path: Path) -> str:
    lines: Iterable[str] = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not re.match(r"!\[.*\]\(.*\)$", line))


def _plain(spec: Any) -> Any:
    return json.loads(spec.model_dump_json(by_alias=True, exclude_none=True))

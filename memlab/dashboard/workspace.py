"""What the project's saved views and reports of Weights & Biases contain, for the page: read from their definitions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from memlab.dashboard.wandb_views import PROJECT, committed_texts, definitions, newest_reports, texts_of
from memlab.storage.wandb_folder import AXES

AXIS = {metric: name for name, metric in AXES.items()}
OPERATORS = {"=": "is", "!=": "is not", "IN": "is one of"}
KEYS = {"group": "group", "jobType": "job type"}
Outline = dict[str, list[dict[str, Any]]]


class WorkspaceReader:
    """Reads what would be sent for a runs folder, again and again; makes it again when a report has changed."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._known: tuple[Any, Outline] | None = None

    def read(self) -> Outline:
        files = newest_reports(self.runs_dir)
        mark = [(name, path, path.stat().st_mtime_ns) for name, path in files.items()]
        if self._known is None or self._known[0] != mark:
            self._known = (mark, outline(definitions(PROJECT, texts_of(files))))
        return self._known[1]


def committed_workspace() -> Outline:
    """Return what would be sent for the committed results."""
    return outline(definitions(PROJECT, committed_texts()))


def outline(made: Mapping[str, Mapping[str, Any]]) -> Outline:
    """Return views and reports as {"views": [...], "reports": [...]}, from what `definitions` returns.

    A view: {"name", "runs": which runs, "groups": by what they are grouped, "sections": [{"name", "open", "panels"}]}.
    A report: {"name", "sections": titles in its text, "runs", "panels"}. A panel: {"title", "what": metric, "axis"}.
    """
    return {
        "views": [_view(name, spec) for name, spec in made["views"].items()],
        "reports": [_report(name, spec) for name, spec in made["reports"].items()],
    }


def _view(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    (runs,) = spec["section"]["runSets"]
    sections = [
        {"name": section["name"], "open": section["isOpen"], "panels": [_panel(panel) for panel in section["panels"]]}
        for section in spec["section"]["panelBankConfig"]["sections"]
    ]
    return {"name": name, "runs": _runs(runs), "groups": _groups(runs), "sections": sections}


def _report(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    sections: list[str] = []
    runs: list[str] = []
    panels: list[dict[str, str]] = []
    for block in spec["blocks"]:
        match block["type"]:
            case "markdown-block":
                sections += re.findall(r"^#+ (.+)$", block["content"], flags=re.MULTILINE)
            case "heading":
                sections.append("".join(child["text"] for child in block["children"]))
            case "panel-grid":
                runs += [_runs(found) for found in block["metadata"]["runSets"]]
                panels += [_panel(panel) for panel in block["metadata"]["panelBankSectionConfig"]["panels"]]
    return {"name": name, "sections": sections, "runs": "; ".join(runs), "panels": panels}


def _runs(runs: Mapping[str, Any]) -> str:
    """Return in words which runs are shown: `group is copy, job type is not report`."""
    parts = []
    for found in runs["filters"]["filters"]:
        value = found["value"]
        words = value if isinstance(value, str) else ", ".join(map(str, value))
        parts.append(f"{_key(found['key'])} {OPERATORS.get(found['op'], found['op'])} {words}")
    return " and ".join(parts) or "all"


def _groups(runs: Mapping[str, Any]) -> list[str]:
    return [_key(key) for key in runs["grouping"]]


def _key(key: Mapping[str, str]) -> str:
    return KEYS.get(key["name"], key["name"])


def _panel(panel: Mapping[str, Any]) -> dict[str, str]:
    config = panel["config"]
    if panel["viewType"] == "Weave":
        (table,) = _picked(config)
        return {"title": table.partition("/")[2], "what": f"table {table}", "axis": ""}
    metrics: Sequence[str] = config["metrics"]
    what = ", ".join(metrics) or config["metricRegex"]
    return {"title": config["chartTitle"], "what": what, "axis": AXIS[config["xAxis"]]}


def _picked(value: Any) -> Iterator[str]:
    """Yield the names that an expression of wandb picks from a run's summary."""
    if isinstance(value, Mapping):
        if value.get("name") == "pick":
            yield value["inputs"]["key"]["val"]
        for part in value.values():
            yield from _picked(part)

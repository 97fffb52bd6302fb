"""What the page shows: experiments and run folders together, small enough for one page."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memlab.dashboard.curves import thinned
from memlab.dashboard.reports import Entry, ReportReader, committed_reports
from memlab.dashboard.samples import marked
from memlab.dashboard.stages import StageReader, add_waiting, totals
from memlab.dashboard.workspace import Outline, WorkspaceReader, committed_workspace
from memlab.errors import UserError
from memlab.report.colours import COLOURS
from memlab.runs.state import FINISHED

LIMIT = 4_500_000  # bytes of the values of a page: with its code it stays under 5 MB
# How much is shown of each stage: points of a curve, and reconstructions. The first that fits is taken.
DETAILS = ((200, 8), (100, 4), (50, 2), (25, 1), (10, 0))
Contents = dict[str, Any]


class RunsReader:
    """Reads a runs folder, again and again; remembers what has not changed."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._stages = StageReader(runs_dir)
        self._reports = ReportReader(runs_dir)
        self._workspace = WorkspaceReader(runs_dir)

    def read(self) -> Contents:
        """Return the contents of the page. Raises UserError if this is no runs folder, or too large for a page."""
        if not (self.runs_dir / "stages").is_dir():
            raise UserError(
                f"{self.runs_dir} is not a runs folder: give another with --runs-dir or MEMLAB_RUNS, or show the"
                " committed results, --from-results"
            )
        sweeps, problems = self._reports.sweeps()
        reports, more = self._reports.read(sweeps)
        stages = self._stages.read()
        add_waiting(stages, [chain for sweep in sweeps for chain in sweep.chains])
        source = f"runs folder {self.runs_dir}"
        return _fitting(source, reports, stages, self._workspace.read(), [*problems, *more])


def committed_contents() -> Contents:
    """Return the contents of the page over the committed results of all experiments. Raises UserError."""
    reports = list(committed_reports())
    return _fitting("committed results", reports, _stages_of(reports), committed_workspace(), [])


def as_json(contents: Contents) -> str:
    return json.dumps(contents, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def in_html(json_text: str) -> str:
    """Return JSON that may stand in an HTML <script>: no text in it can end the script or begin a comment."""
    for letter in "<>&\u2028\u2029":
        json_text = json_text.replace(letter, f"\\u{ord(letter):04x}")
    return json_text


def _stages_of(reports: Sequence[Entry]) -> dict[str, Entry]:
    """Return the stages behind committed rows: they have no run folders here."""
    found: dict[str, Entry] = {}
    for report in reports:
        for row in report["rows"]:
            before = None
            for stage in row["stages"]:
                entry = found.setdefault(stage["run"], _finished(stage, before, row))
                if stage["curve"]:
                    entry["curves"] = {"val": stage["curve"]}
                if row["arm"] not in entry["arms"]:
                    entry["arms"].append(row["arm"])
                before = stage["run"]
            if row["samples"] and row["run"] in found:
                found[row["run"]]["samples"] = [marked(sample) for sample in row["samples"]]
    return found


def _finished(stage: Mapping[str, Any], before: str | None, row: Mapping[str, Any]) -> Entry:
    # Rows that older versions committed have one origin for the whole chain.
    origin = stage if "commit" in stage else row
    return {
        **{"name": stage["name"], "state": FINISHED, "note": "", "step": stage["steps"], "steps": stage["steps"]},
        **{"start": before, "seconds": stage["seconds"], "left": None, "arms": [], "accuracy": {}},
        **{key: row.get(key) for key in ("architecture", "seed")},
        **{key: origin.get(key) for key in ("commit", "dirty", "hardware", "versions")},
        **{"curves": {}, "samples": []},
    }


def _fitting(
    source: str,
    reports: Sequence[Entry],
    stages: Mapping[str, Entry],
    workspace: Outline,
    problems: Sequence[str],
) -> Contents:
    """Return the contents with as much detail as a page has room for. Raises UserError if there is no room."""
    about = {
        "source": source,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "colours": COLOURS,
        "problems": problems,
        "totals": totals(stages),
        "reports": [_lean(report) for report in reports],
        "workspace": workspace,
    }
    for points, samples in DETAILS:
        shown = {name: _detailed(entry, points, samples) for name, entry in stages.items()}
        contents = {**about, "points": points, "stages": shown}
        if len(in_html(as_json(contents)).encode()) <= LIMIT:
            return contents
    raise UserError(f"{source}: {len(stages)} run folders are too many for one page: remove some (memlab.runs gc)")


def _lean(report: Entry) -> Entry:
    """Return a report whose rows name their stages, which stand in the contents once."""
    kept = ("run", "of", "steps", "tokens", "seconds")
    rows = []
    for row in report["rows"]:
        stages = [{key: stage[key] for key in kept} for stage in row["stages"]]
        rows.append({**{key: value for key, value in row.items() if key != "samples"}, "stages": stages})
    return {**report, "rows": rows}


def _detailed(entry: Entry, points: int, samples: int) -> Entry:
    curves = {kind: thinned(curve, points) for kind, curve in entry["curves"].items()}
    return {**entry, "curves": curves, "samples": entry["samples"][:samples]}

"""The experiments for the page: reports of memlab.report as plain values."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from memlab.config import paths
from memlab.dashboard.curves import finite, rounded
from memlab.errors import UserError
from memlab.report import Report, Row, committed
from memlab.report.collect import COSTS, Point
from memlab.report.of_sweep import COMMAND_FILE, POINTS_FILE, read_points
from memlab.report.report import seconds
from memlab.report.tables import along_training, headline, summary, verdicts
from memlab.report.units import is_share, number, title
from memlab.report.verdict import HOLDS, REFUTED, UNDECIDED, UNMEASURED
from memlab.report.write import assemble, read_committed
from memlab.storage.files import read_json

CHOICES = ("architecture", "arm", "encoder", "curriculum", "seed")
ORIGIN = ("commit", "dirty", "hardware", "versions")
Entry = dict[str, Any]
Mark = tuple[Any, ...]


class Sweep(NamedTuple):
    """A sweep of a runs folder, as it was written down when it began."""

    folder: Path
    points: list[Point]

    @property
    def chains(self) -> list[tuple[Mapping[str, Any], list[str]]]:
        """The choices of each point and the names of its run folders, oldest first."""
        return [(point["choices"], [Path(stage).name for stage in point["stages"]]) for point in self.points]


class ReportReader:
    """Reads the sweeps of a runs folder, again and again; makes a report again only where a stage has ended."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._known: dict[Path, tuple[Mark, Entry]] = {}

    def sweeps(self) -> tuple[list[Sweep], list[str]]:
        """Return the sweeps, and messages on those whose points cannot be read."""
        found, problems = [], []
        for file in sorted((self.runs_dir / "reports").glob(f"*/*/{POINTS_FILE}")):
            points = read_points(file.parent, self.runs_dir)
            if points is None:
                problems.append(f"{file} cannot be read: run that sweep again")
            else:
                found.append(Sweep(file.parent, points))
        return found, problems

    def read(self, sweeps: Sequence[Sweep]) -> tuple[list[Entry], list[str]]:
        """Return the reports of sweeps, without those that have no finished point, and messages on what went wrong."""
        found, problems = [], []
        for sweep in sweeps:
            mark = _mark(sweep)
            known = self._known.get(sweep.folder)
            if known is None or known[0] != mark:
                try:
                    known = self._known[sweep.folder] = (mark, _of_sweep(sweep))
                except UserError as error:
                    problems.append(str(error))
                    continue
            if known[1]["rows"]:
                found.append(known[1])
        return found, problems


def committed_reports() -> Iterator[Entry]:
    """Yield the committed results of every experiment. Raises UserError for a file that cannot be read."""
    for path in sorted(paths.experiments().glob("*/expected.yaml")):
        for name in committed(path.parent.name):
            yield as_entry(read_committed(path.parent.name, name, path.parent), name)


def as_entry(report: Report, name: str) -> Entry:
    """Return a report as the page shows it."""
    expected, metrics = report.expected, metrics_of(report.rows)
    main = [metric for metric in report.metrics if metric in metrics] or metrics[:1]
    texts = {claim["id"]: claim for claim in expected["claims"]}
    verdict_names = [claim["verdict"] for claim in report.claims]
    return finite(
        {
            "id": f"{report.experiment}/{name}",
            "experiment": report.experiment,
            "name": name,
            "title": str(expected.get("title", "")),
            "headline": headline(report),
            "command": report.command,
            "unfinished": report.unfinished,
            "seconds": seconds(report.rows),
            "verdicts": {key: verdict_names.count(key) for key in (HOLDS, UNDECIDED, REFUTED, UNMEASURED)},
            "main": main,
            "metrics": {metric: {"title": title(metric), "share": is_share(metric)} for metric in metrics},
            "arms": _arms(report),
            "rows": [_row(row, metrics) for row in report.rows],
            "tables": {
                "arms": summary(report, report.metrics),
                "claims": verdicts(report),
                "along": along_training(report),
            },
            # Beside the lines of the two tables: whose numbers they are, and what each claim says.
            "lines": list(dict.fromkeys((row.get("architecture"), row.get("arm")) for row in report.rows)),
            "claims": [
                {"id": claim["id"], "text": claim["text"], "source": texts.get(_plain(claim["id"]), {}).get("source")}
                for claim in report.claims
            ],
            "published": expected["published"],
            "context": [_context(entry) for entry in expected.get("context") or []],
        }
    )


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """Return the names of all numbers in `rows`, beside their choices and costs."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if _is_number(value))
    return [name for name in names if name not in (*CHOICES, *COSTS)]


def _of_sweep(sweep: Sweep) -> Entry:
    folder = sweep.folder
    try:
        command = shlex.join(["python", "-m", "memlab.run", *map(str, read_json(folder / COMMAND_FILE))])
    except (OSError, ValueError, TypeError):
        command = "unknown"
    return as_entry(assemble(folder.parent.name, folder.name, sweep.points, folder, command), folder.name)


def _mark(sweep: Sweep) -> Mark:
    """Return what changes when a stage of a sweep has ended or was measured: equal marks, equal reports."""
    stages = dict.fromkeys(Path(stage) for point in sweep.points for stage in point["stages"])
    files = [file for stage in stages for file in (stage / "finished.json", *sorted(stage.glob("evaluation*.json")))]
    return (len(sweep.points), *(_time(file) for file in files))


def _time(file: Path) -> tuple[str, int]:
    try:
        return str(file), file.stat().st_mtime_ns
    except OSError:
        return str(file), 0


def _arms(report: Report) -> Entry:
    """Return the looks of arms by name: those of expected.yaml first, in its order."""
    names = dict.fromkeys([*report.expected["arms"], *(str(row.get("arm")) for row in report.rows)])
    about = {name: report.expected["arms"].get(name, {}) for name in names}
    return {
        name: {
            "label": str(look.get("label", name)),
            "colour": look.get("colour"),
            "curve": look.get("curve", True),
        }
        for name, look in about.items()
    }


def _row(row: Row, metrics: Sequence[str]) -> Entry:
    return {
        **{key: row.get(key) for key in (*CHOICES, *COSTS, "run", *ORIGIN[:3])},
        "values": {metric: rounded(row[metric]) for metric in metrics if _is_number(row.get(metric))},
        "places": row.get("places", {}),
        "samples": row.get("samples", []),
        "stages": row["stages"],
    }


def _context(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return a published number near the question as text: it is of another quantity and is never compared."""
    metric = str(entry.get("metric", ""))
    kinds = (("value", ""), ("below", "< "), ("above", "> "))
    found = [word + number(entry[key], metric) for key, word in kinds if _is_number(entry.get(key))]
    found += [" to ".join(number(value, metric) for value in entry.get("values", ()) if _is_number(value))]
    return {
        "text": str(entry.get("text", "")),
        "metric": title(metric) if metric else "",
        "value": ", ".join(filter(None, found)),
        "source": str(entry.get("source", "")),
    }


def _plain(claim: str) -> str:
    """Return a claim's id without the architecture that it was asked of: `id[mixer]` -> `id`."""
    return claim.partition("[")[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

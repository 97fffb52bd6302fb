"""The files of a report. A writer is an object with `write(report, folder) -> paths`; a report is a list of them."""

import csv
import importlib.util
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from memlab.config import paths
from memlab.errors import UserError
from memlab.report.collect import BULKY, COSTS, Row
from memlab.report.markdown import markdown
from memlab.report.report import Report, as_dict
from memlab.report.tables import summary, verdicts
from memlab.report.verdict import VERDICTS
from memlab.storage.files import write_atomic

FIGURE = "figure.png"
CLAIMS_FIGURE = "figure_claims.png"
PLACES_FIGURE = "figure_places.png"


class Writer(Protocol):
    """Writes one kind of file, each file whole or not at all."""

    def write(self, report: Report, folder: Path) -> list[Path]:
        """Write the report's files of this kind into `folder`, which exists; return their paths."""


@dataclass(frozen=True)
class Json:
    """The whole report, from which `redraw` makes it again."""

    name: str = "report.json"

    def write(self, report: Report, folder: Path) -> list[Path]:
        return [_written(folder / self.name, _json(as_dict(report)))]


@dataclass(frozen=True)
class Csv:
    """A line per row; the column `stages` holds the run folder and the commit of each stage, oldest first."""

    name: str = "results.csv"

    def write(self, report: Report, folder: Path) -> list[Path]:
        return [_written(folder / self.name, _csv(report.rows))]


@dataclass(frozen=True)
class Figures:
    """The pictures of figure.py, of the claims and of the places, as <picture><ending><suffix>; none without rows."""

    ending: str = ""
    suffixes: tuple[str, ...] = (".png", ".svg", ".pdf")

    def write(self, report: Report, folder: Path) -> list[Path]:
        if not report.rows:
            return []
        # matplotlib is imported where there is something to draw.
        from memlab.report.claims_figure import claims_figure
        from memlab.report.places import places_figure
        from memlab.report.plotting import save_drawn

        module = figure_module(report.experiment)
        written = []
        with tempfile.TemporaryDirectory(dir=folder, prefix=".figure-") as temporary:
            module.draw(report.rows, report.expected, Path(temporary) / FIGURE)
            for name, draw in ((CLAIMS_FIGURE, claims_figure), (PLACES_FIGURE, places_figure)):
                save_drawn(draw, report.rows, report.expected, Path(temporary) / name)
            for file in sorted(Path(temporary).iterdir()):
                if file.suffix in self.suffixes:
                    written.append(folder / f"{file.stem}{self.ending}{file.suffix}")
                    os.replace(file, written[-1])
        return written


@dataclass(frozen=True)
class Markdown:
    """The page. It shows the pictures of the report's own folder, under their names with `ending`."""

    name: str = "report.md"
    ending: str = ""

    def write(self, report: Report, folder: Path) -> list[Path]:
        names = [f"{path.stem}{self.ending}{path.suffix}" for path in report.pictures] if report.rows else []
        return [_written(folder / self.name, markdown(report, names))]


@dataclass(frozen=True)
class Logged:
    """Hands the finished experiment to a logger, and writes no file itself. It comes after the pictures.

    logger: has `log_report(folder, runs_dir, content)`. content: {"experiment", "scale", "command", "architectures",
    "pictures": paths, "numbers": how many claims have which verdict, "tables": {name: lines, header first}}; the tables
    are the arms and the claims as on the page, and the results with a line per row.
    """

    logger: Any
    runs_dir: Path

    def write(self, report: Report, folder: Path) -> list[Path]:
        self.logger.log_report(folder, self.runs_dir, _content(report))
        return []


# The page comes last because it shows the pictures.
WRITERS: tuple[Writer, ...] = (Json(), Csv(), Figures(), Markdown())


def committed_writers(name: str, ending: str) -> tuple[Writer, ...]:
    """Return the writers of results/<name>.*; `ending` follows the names of pictures."""
    figures = Figures(ending, (".png", ".pdf"))
    return (Csv(f"{name}.csv"), Json(f"{name}.json"), figures, Markdown(f"{name}.md", ending))


def write_all(report: Report, folder: Path, writers: Sequence[Writer] = WRITERS) -> list[Path]:
    """Write the report into `folder` by every writer; return the paths of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [path for writer in writers for path in writer.write(report, folder)]


def source(experiment: str) -> Path:
    """Return the folder of an experiment. Raises UserError, with the known names, if there is none."""
    folder = paths.experiments() / experiment
    if not folder.is_dir():
        known = sorted(path.parent.name for path in folder.parent.glob("*/expected.yaml"))
        raise UserError(f"no experiment {experiment!r}: choose one of {known}")
    return folder


def _written(path: Path, text: str) -> Path:
    write_atomic(path, text.encode())
    return path


def figure_module(experiment: str) -> ModuleType:
    """Return the experiment's figure.py: `draw(rows, expected, path)`, and `derive(rows) -> rows` where it has one."""
    script = source(experiment) / "figure.py"
    specification = importlib.util.spec_from_file_location(f"memlab_figure_{experiment}", script)
    assert specification is not None and specification.loader is not None, script
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_lines(rows))
    return text.getvalue()


def _lines(rows: Sequence[Row]) -> list[list[Any]]:
    """Return the rows as lines of a table, header first; None where a row lacks a value."""
    lines = [{key: value for key, value in row.items() if key not in BULKY} | {"stages": _stages(row)} for row in rows]
    names = list(dict.fromkeys(name for line in lines for name in line))
    last = [*COSTS, "commit", "dirty", "hardware", "run", "stages"]
    columns = [*(name for name in names if name not in last), *last]
    return [columns, *([line.get(name) for name in columns] for line in lines)]


def _content(report: Report) -> dict[str, Any]:
    found = [claim["verdict"] for claim in report.claims]
    return {
        "experiment": report.experiment,
        "scale": report.scale,
        "command": report.command,
        "architectures": list(dict.fromkeys(str(row.get("architecture")) for row in report.rows)),
        "pictures": report.pictures,
        "numbers": {f"claims/{verdict}": found.count(verdict) for verdict in VERDICTS},
        "tables": {
            "arms": summary(report, report.metrics),
            "claims": verdicts(report),
            "results": _finite(_lines(report.rows)),
        },
    }


def _stages(row: Row) -> str:
    """autoencoder-0123@c9808c4 copy-4567@45dd79c+uncommitted: each stage with its commit, as far as it is known."""
    return " ".join(
        f"{stage['run']}@{(stage.get('commit') or 'unknown')[:12]}{'+uncommitted' if stage.get('dirty') else ''}"
        for stage in row["stages"]
    )


def _json(value: Any) -> str:
    """Return indented JSON with a list of numbers on one line: a curve would take hundreds of lines."""
    text = json.dumps(_finite(value), indent=1, allow_nan=False)
    # JSON strings hold no line breaks, so this matches lists only.
    return re.sub(r"\[\n[^\[\]{}\"]*\]", lambda match: re.sub(r"\s+", "", match.group()), text) + "\n"


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which strict JSON lacks, by null: a diverged run's metrics."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

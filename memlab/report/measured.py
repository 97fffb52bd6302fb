"""Rows of experiments that measure speed: read from the files that a measurement wrote, and the ratios of two rows.

A file holds the rows of one repetition, all arms of one architecture, under "rows". A row's `rounds` are
{quantity: [a number per round]}: the arms took turns, so round i of two rows of one repetition belongs together.
"""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memlab.errors import UserError
from memlab.storage.files import read_json

ROUNDS = "rounds"


def read_measured(folder: Path, file: str) -> list[dict[str, Any]]:
    """Return the rows of a repetition; none if it was not measured yet.

    Raises UserError if the file is damaged.
    """
    path = Path(folder) / file
    try:
        rows: list[dict[str, Any]] = read_json(path)["rows"]
        [row["arm"] for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}): delete it and measure again") from None
    return rows


def find_row(folder: Path, file: str, choices: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the row of a point's choices; None if it was not measured yet. Raises UserError as `read_measured`."""
    return next((row for row in read_measured(folder, file) if row["arm"] == choices["arm"]), None)


def median_ratio(above: Mapping[str, Any], below: Mapping[str, Any], quantity: str) -> float | None:
    """Return the median over rounds of above / below; None where one of the rows lacks the quantity."""
    values = [row.get(ROUNDS, {}).get(quantity) for row in (above, below)]
    if None in values:
        return None
    return statistics.median(a / b for a, b in zip(*values, strict=True))

"""A report's tables as lines of text: the arms with their numbers, the claims with their verdicts."""

import math
from collections.abc import Sequence
from typing import Any

from memlab.report.along import courses
from memlab.report.collect import Row
from memlab.report.power import MOST
from memlab.report.report import Report
from memlab.report.side import SEEDS_FOR_T, Unmeasurable
from memlab.report.uncertainty import estimate, seed_values, standard_error
from memlab.report.units import PUBLISHED, number, title

AFTER_HOLM = {True: "holds", False: "does not", None: "-"}


def summary(report: Report, metrics: Sequence[str]) -> list[list[str]]:
    """Return the arms table, header first; a line per architecture and arm.

    A metric with published values is followed by a column with them. Steps and minutes are means over seeds.
    """
    published = {
        (entry["architecture"], entry["arm"], entry["metric"]): entry["value"] for entry in report.expected["published"]
    }
    compared = [metric for metric in metrics if any(key[2] == metric for key in published)]
    header = ["architecture", "arm"]
    for metric in metrics:
        header += [title(metric), PUBLISHED] if metric in compared else [title(metric)]
    lines = [[*header, "seeds", "steps", "minutes"]]
    for architecture, arm in dict.fromkeys((row.get("architecture"), row.get("arm")) for row in report.rows):
        rows = [row for row in report.rows if (row.get("architecture"), row.get("arm")) == (architecture, arm)]
        line = [str(architecture), report.expected["arms"].get(arm, {}).get("label", str(arm))]
        for metric in metrics:
            line.append(_value(rows, metric))
            if metric in compared:
                known = published.get((architecture, arm, metric))
                line.append("-" if known is None else number(known, metric))
        steps, minutes = (
            math.fsum(row[key] for row in rows) / len(rows) / unit for key, unit in (("steps", 1), ("seconds", 60))
        )
        lines.append([*line, str(len(rows)), f"{steps:,.0f}", f"{minutes:.1f}"])
    return lines


def headline(report: Report) -> str:
    """Return the experiment's main numbers in one line: the arms of its `headline`, with half their 95 % intervals.

    Empty if it names none. An arm without runs is left out; a number without an interval over seeds has none.
    """
    asked = report.expected.get("headline")
    if asked is None:
        return ""
    metric, parts = asked["metric"], []
    for architecture in dict.fromkeys(row.get("architecture") for row in report.rows):
        values = []
        for arm in asked["arms"]:
            rows = [row for row in report.rows if (row.get("architecture"), row.get("arm")) == (architecture, arm)]
            found = seed_values(rows, metric)
            if not len(found):
                continue
            text = f"{report.expected['arms'][arm].get('label', arm)} {number(float(found.mean()), metric)}"
            if len(found) >= SEEDS_FOR_T:
                interval = estimate(rows, metric)
                text += f" ± {number((interval.high - interval.low) / 2, metric)}"
            values.append(text)
        if values:
            parts.append(f"{architecture}s: {', '.join(values)}")
    return f"{title(metric)}; {'; '.join(parts)}" if parts else ""


def verdicts(report: Report) -> list[list[str]]:
    """Return the claims table, header first. Verdicts of older committed results have no p-values."""
    header = ["claim", "verdict", "left", "right", "difference", "needed", "margin", "p", "p (Holm)", "after Holm"]
    lines = [[*header, "seeds to decide", "how"]]
    for claim in report.claims:
        measured = claim["measured"]
        metric = measured["left"]["metric"]
        sides = [_side(measured[key]) for key in ("left", "right")]
        change, margin, how = "-", "-", measured.get("reason", "")
        if measured["difference"] is not None:
            low, high = (number(value, metric, signed=True) for value in measured["interval"])
            change = f"{number(measured['difference'], metric, signed=True)} [{low}, {high}]"
            how = f"{measured['method']}; seeds {', '.join(map(str, measured['seeds']))}"
            if measured["margin_se"] is not None:
                margin = f"{measured['margin_se']:+.1f} s.e."
        needed = f"≥ {number(measured['smallest_effect'], metric, signed=True)}"
        tests = [_p_value(claim.get(key)) for key in ("p_value", "p_holm")]
        corrected = AFTER_HOLM[claim.get("holds_after_holm")]
        seeds = _seeds_needed(measured.get("seeds_needed"))
        lines.append([claim["id"], claim["verdict"], *sides, change, needed, margin, *tests, corrected, seeds, how])
    return lines


def along_training(report: Report) -> list[list[str]]:
    """Return the table of claims along training, header first: a line per pair of arms that has validations."""
    header = ["claim", "left", "right", "difference at 1/3", "at 2/3", "at the end", "second half", "trend"]
    lines = [[*header, "sign changes at step"]]
    for course in courses(report.expected["claims"], report.rows):
        thirds = [max(0, round(len(course.found) * part / 3) - 1) for part in (1, 2, 3)]
        values = [
            f"{number(course.found[place].value, course.metric, signed=True)}, {course.verdicts[place]}"
            for place in thirds
        ]
        change = course.second_half
        grown = "-" if change is None else number(change.value, course.metric, signed=True)
        sign = "-" if course.sign_changes is None else f"{course.sign_changes:,}"
        lines.append([course.claim, course.left, course.right, *values, grown, course.trend, sign])
    return lines


def _value(rows: Sequence[Row], metric: str) -> str:
    values = seed_values(rows, metric)
    if not len(values):
        return "-"
    mean, error = number(float(values.mean()), metric), standard_error(values)
    if error is not None:
        return f"{mean} ± {number(error, metric)}"
    try:
        found = estimate(rows, metric)
    except Unmeasurable:
        return mean
    return f"{mean} [{number(found.low, metric)}, {number(found.high, metric)}]"


def _side(side: dict[str, Any]) -> str:
    names = " ".join(str(side[key]) for key in ("arm", "architecture") if key in side)
    return names if side["value"] is None else f"{names} {number(side['value'], side['metric'])}".strip()


def _seeds_needed(seeds: int | None) -> str:
    return "-" if seeds is None else f"> {MOST:,}" if seeds > MOST else str(seeds)


def _p_value(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"

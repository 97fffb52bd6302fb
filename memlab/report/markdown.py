"""report.md: a report as a page."""

import re
from collections.abc import Sequence

from memlab.report.report import Report, origins, seconds
from memlab.report.tables import along_training, headline, summary, verdicts
from memlab.report.units import PUBLISHED

_NUMBERS = (
    "Mean ± standard error over seeds; the column seeds says how many. With one seed: the value with its 95 % interval"
    " over evaluation windows (bootstrap), which leaves out the spread between training runs; no interval where the"
    " windows are not at hand. Steps and minutes belong to a point's whole chain, encoder pretraining included."
)
_CLAIMS = (
    "Accuracies are in percent, their differences in percentage points. A claim *holds* if the difference is at least"
    " what is needed and its 95 % interval lies above 0; where less than 0 is needed (“not worse by more than”), if the"
    " interval lies above that. A claim that does not hold is *undecided* while its interval reaches what is needed:"
    " more seeds could settle it. Intervals are over seeds (Student's t) from three seeds on, otherwise over evaluation"
    " windows (bootstrap). Margin: the difference minus what is needed, in standard errors over seeds; none with one"
    " seed."
)
_MULTIPLE = (
    "Several claims are tested at once. Each verdict has the error rate of its own interval, so among many claims some"
    " may hold by chance. p belongs to the one-sided test behind the verdict: the interval lies above its bound if p ≤"
    " 0.025. p (Holm) is adjusted for the {tested} claims tested here, and *after Holm* says whether the claim holds"
    " with p (Holm) ≤ 0.025, too: then the chance that any of them passes its test by luck is at most 2.5 %."
)
_POWER = (
    "Seeds to decide: how many seeds would settle an undecided claim with a chance of 80 %, if the difference and its"
    " spread over seeds are those measured."
)
_ALONG = (
    "The difference on validation windows after a third, two thirds and the whole of both arms' last stages, with the"
    " verdict that it would have there. Trend: whether the second half of the stage moved the difference *towards* the"
    " claim or *away* from it (95 % interval over seeds), else *level*. The learning rate falls to zero at the end of a"
    " stage, so an earlier point is not where a shorter stage would have ended."
)

# What the pictures beside figure.png show, by the beginnings of their names: their texts for screen readers.
PICTURES = {
    "figure_cost": "the same curves over tokens and over wall time",
    "figure_claims": "the differences that the claims are about, along training",
    "figure_places": "token accuracy by place in the chunk",
}


def markdown(report: Report, pictures: Sequence[str]) -> str:
    """Return the content of report.md; `pictures` are names of files beside it."""
    arms = summary(report, report.metrics)
    along = along_training(report)
    tested = sum(claim.get("p_value") is not None for claim in report.claims)
    parts = [
        f"# {report.experiment}, scale {report.scale}",
        str(report.expected.get("title", "")),
        str(report.expected.get("note", "")),
        f"In short: {short}." if (short := headline(report)) else "",
        f"```\n{report.command}\n```",
        "## Arms",
        _table(arms),
        f"{_NUMBERS} All stages, shared ones counted once: {seconds(report.rows) / 60:.1f} minutes.",
        _sources(report) if PUBLISHED in arms[0] else "",
        "## Claims",
        _table(verdicts(report)),
        _CLAIMS,
        _MULTIPLE.format(tested=tested) if tested else "",
        _POWER if any(claim["measured"].get("seeds_needed") for claim in report.claims) else "",
        "\n".join(f"- `{claim['id']}` ({claim['source']}): {claim['text']}" for claim in report.expected["claims"]),
        "## Claims along training" if len(along) > 1 else "",
        _table(along) if len(along) > 1 else "",
        _ALONG if len(along) > 1 else "",
        f"Not finished: {'; '.join(report.unfinished)}." if report.unfinished else "",
        "## Provenance" if report.rows else "",
        _table(_provenance(report)) if report.rows else "",
        "## Figures" if pictures else "",
        "\n\n".join(f"![{_spoken(report, picture, short)}]({picture})" for picture in pictures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _spoken(report: Report, picture: str, short: str) -> str:
    """Return a picture's text for screen readers."""
    kinds = (what for beginning, what in PICTURES.items() if picture.startswith(beginning))
    what = next(kinds, short or str(report.expected.get("title", "")))
    return re.sub(r"[\[\]]", "", f"{report.experiment}: {what}")


def _provenance(report: Report) -> list[list[str]]:
    """Return a line per origin, with the run folders of the stages that have it."""
    lines = [["commit", "uncommitted changes", "hardware", "versions", "stages"]]
    for origin, runs in origins(report.rows).items():
        about = [origin.commit or "unknown", "yes" if origin.dirty else "no"]
        lines.append([*about, origin.hardware or "unknown", origin.versions or "unknown", ", ".join(runs)])
    return lines


def _sources(report: Report) -> str:
    sources = dict.fromkeys(str(entry["source"]) for entry in report.expected["published"])
    return f"Columns “{PUBLISHED}” are the paper's models, not ours: {'; '.join(sources)}."


def _table(lines: Sequence[Sequence[str]]) -> str:
    header, *body = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(f"| {line} |" for line in (header, " | ".join(["---"] * len(lines[0])), *body))

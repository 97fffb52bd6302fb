"""expected.yaml: what an experiment claims, written before it is run.

    title: ...
    message: "{blank_copy} of the tokens right, not {direct_copy}"   # the figure's title, with the arms' means
    note: ...                                    # what a reader of the report must know about its numbers
    headline: {metric: token_accuracy, arms: [blank_copy, direct_copy]}   # the numbers to quote first
    arms:
      blank_copy: {label: blank copy, short: blank, colour: blue}   # short: beside a curve; curve: false draws none
    claims:
      - id: blank_copy_beats_direct_copy
        text: ...
        source: Figure 4d, caption
        left: {arm: blank_copy, metric: token_accuracy}
        right: {arm: direct_copy, metric: token_accuracy}
        smallest_effect: 0.10

A claim says left - right >= smallest_effect. With a negative smallest effect it says "not worse by more than". For
cross-entropy and other metrics where lower is better, the side that the claim calls worse stands on the left. The two
sides may name different metrics, such as token_accuracy and clm/token_accuracy. One of them may be a fixed value
instead, {value: 0.9}.

A selector's keys other than `metric` are choices that a row must have made. A list of arms stands for each of them:
the claim must hold for every pair of a left and a right arm. Unless its sides name an architecture, a claim is asked of
every architecture in the rows (or of those in `architectures`), under the id `id[architecture]`.

Values published for the same arms, at full size, stand beside ours in tables and figures:

    published:
      - {arm: blank_copy, architecture: mixer, metric: token_accuracy, value: 0.9, source: ...}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from memlab.errors import UserError
from memlab.report.colours import COLOURS

Expected = dict[str, Any]
Claim = dict[str, Any]

_KEYS = {"id", "text", "source", "left", "right", "smallest_effect"}
_OPTIONAL = {"architectures"}
_ARM = {"label", "short", "colour", "curve"}
_PUBLISHED = {"arm", "architecture", "metric", "value", "source"}


def load_expected(path: Path) -> Expected:
    """Read and check an experiment's expected.yaml.

    Raises:
        UserError: the file is missing or is not YAML; an arm has an unknown key or colour; a claim or a published value
            lacks a key, has an unknown one or names an arm that `arms` lacks; a claim names an architecture on one side
            only.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: an experiment states its claims there before it is run")
    try:
        expected = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {error}") from None
    for key in ("arms", "claims"):
        if key not in expected:
            raise UserError(f"{path} has no `{key}`")
    for arm, about in expected["arms"].items():
        if unknown := sorted(set(about) - _ARM):
            raise UserError(f"{path}, arm {arm}: unknown keys {unknown}; choose among {sorted(_ARM)}")
        if "colour" in about and about["colour"] not in COLOURS:
            raise UserError(f"{path}, arm {arm}: unknown colour {about['colour']}; choose among {', '.join(COLOURS)}")
    headline = expected.get("headline")
    if headline is not None and (strangers := [arm for arm in headline["arms"] if arm not in expected["arms"]]):
        raise UserError(f"{path}, headline: {strangers} not among the arms {sorted(expected['arms'])}")
    seen: set[str] = set()
    for claim in expected["claims"]:
        _check_claim(claim, expected["arms"], path)
        if claim["id"] in seen:
            raise UserError(f"{path}, claim {claim['id']}: id used twice")
        seen.add(claim["id"])
    expected["published"] = expected.get("published") or []
    for entry in expected["published"]:
        if set(entry) != _PUBLISHED or entry["arm"] not in expected["arms"]:
            raise UserError(
                f"{path}, published {entry}: give {', '.join(sorted(_PUBLISHED))}, with one of the arms"
                f" {sorted(expected['arms'])}"
            )
    return expected


def arms_of(selector: Mapping[str, Any]) -> list[Any]:
    """Return the arms that one side of a claim names; [None] if it names none."""
    arm = selector.get("arm")
    return list(arm) if isinstance(arm, list) else [arm]


def _check_claim(claim: Claim, arms: Mapping[str, Any], path: Path) -> None:
    where = f"{path}, claim {claim.get('id', '?')}"
    missing, unknown = _KEYS - set(claim), set(claim) - _KEYS - _OPTIONAL
    if missing or unknown:
        raise UserError(f"{where}: missing keys {sorted(missing)}, unknown keys {sorted(unknown)}")
    sides = [side for side in (claim["left"], claim["right"]) if set(side) != {"value"}]
    if not sides:
        raise UserError(f"{where}: both sides are fixed values")
    for side in sides:
        if "metric" not in side:
            raise UserError(f"{where}: a side names no metric")
        if strangers := [arm for arm in arms_of(side) if arm is not None and arm not in arms]:
            raise UserError(f"{where}: {strangers} not among the arms {sorted(arms)}")
    if len({"architecture" in side for side in sides}) > 1:
        raise UserError(f"{where}: name an architecture on both sides, or on neither")

"""Reconstructions for the page: which parts of a text a model got wrong."""

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any


def marked(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of samples.jsonl as {"by", "parts"}; a part is [text, regenerated, right, number of tokens].

    by: "tokens", or "characters" for a run that was measured before samples said which tokens are right: its parts are
    where the letters differ, and their numbers of tokens are None.
    """
    if "parts" in sample:
        keys = ("text", "regenerated", "right", "tokens")
        return {"by": "tokens", "parts": [[part[key] for key in keys] for part in sample["parts"]]}
    text, regenerated = sample["text"], sample["regenerated"]
    found = SequenceMatcher(None, text, regenerated, autojunk=False).get_opcodes()
    parts = [[text[a:b], regenerated[c:d], kind == "equal", None] for kind, a, b, c, d in found]
    return {"by": "characters", "parts": parts}

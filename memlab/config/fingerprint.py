"""A stage's fingerprint: a hash of what was chosen and can change its weights, and of nothing else.

`Stage` (memlab/config/plan.py) holds exactly what is hashed, its parents' fingerprints among it. Loggers, folders,
validation, threads and workers are not in a Stage, so they cannot get in. Code is represented by WEIGHTS_VERSION:
raise it when a change of code changes trained weights (the golden losses of tests/objectives tell when). Old runs are
then left alone and everything trains anew.
"""

import dataclasses
import hashlib
import json
from typing import Any

WEIGHTS_VERSION = 2


def digest(value: Any) -> str:
    """12 hexadecimal digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fingerprint(stage: Any) -> str:
    """The fingerprint of a `memlab.config.plan.Stage`."""
    values = dataclasses.asdict(stage)
    del values["name"]
    return digest({"weights_version": WEIGHTS_VERSION, **values})

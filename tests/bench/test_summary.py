"""Tables of the benchmark's rows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from memlab.bench.summary import origin, ranges, steps


def row(**changed: Any) -> dict[str, Any]:
    choices = {"architecture": "mixer", "model": "memory", "objective": "copy", "encoder": "trainable", "phase": "step"}
    speed = {"speedup_median": 2.0, "speedup_min": 1.5, "speedup_max": 2.5, "matmul_share": 0.5}
    where = {"commit": "abcdef123", "dirty": False, "hardware": {"cpu": "made up", "cores": 2}}
    return {**choices, **speed, "peak_ratio": 0.9, "activation_ratio": 0.4, **where, **changed}


ROWS = [
    row(),
    row(architecture="transformer", speedup_median=1.8, peak_ratio=0.7),
    row(model="full_context", encoder="none"),
    row(phase="evaluate", speedup_median=3.0),
]


def test_a_line_per_case_with_both_architectures() -> None:
    lines = steps(ROWS).splitlines()
    assert lines[2] == "| copy, trainable encoder | 2.00x (1.50-2.50) | 50% | 1.80x (1.50-2.50) | 50% |"
    assert lines[3] == "| copy, full context | 2.00x (1.50-2.50) | 50% | - | - |"
    assert len(lines) == 4, "whole steps alone"


def test_least_median_and_most_by_phase() -> None:
    lines = ranges(ROWS).splitlines()
    assert lines[2].startswith("| step | 1.80 - 2.00 - 2.00 | 0.50 - 0.50 - 0.50 | 0.70 - 0.90 - 0.90 |")
    assert lines[3].startswith("| evaluate | 3.00 - 3.00 - 3.00 |")


def test_command_says_where_rows_are_from(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([*ROWS, row(commit="0123456789", dirty=True)]))
    command = [sys.executable, "-m", "memlab.bench.summary", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "5 rows, commit 0123456 (changed), abcdef1, cpu made up, cores 2" in done.stdout
    assert origin(ROWS).startswith("4 rows, commit abcdef1, cpu")

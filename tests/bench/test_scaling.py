"""Tables and pictures of how cost grows, from rows whose growth is known."""

import json
from pathlib import Path
from typing import Any

import pytest

from memlab.bench import scaling
from memlab.bench.cases import Size
from memlab.bench.scaling import table, varied_size


def row(**changed: Any) -> dict[str, Any]:
    size = {name: field.default for name, field in Size.__dataclass_fields__.items()}
    costs = {"seconds": 1.0, "baseline_seconds": 2.0, "speedup_median": 2.0}
    peaks = {"peak_bytes": 2**20, "baseline_peak_bytes": 3 * 2**20}
    return {"architecture": "mixer", "objective": "copy", **size, **costs, **peaks, **changed}


ROWS = [row(chunks=4), row(chunks=16, seconds=16.0, peak_bytes=4 * 2**20)]


def test_table_says_how_cost_grows() -> None:
    assert varied_size(ROWS) == "chunks"
    last = table("chunks", ROWS).splitlines()[-1]
    # Four times the chunks: sixteen times the time, four times the memory.
    assert last == "| mixer copy | 16 | 16.000 | 2.0 | 2.000 | 2.00 | 4 | 1.0 | 3 |"


@pytest.mark.parametrize("rows", [[row(), row()], [row(chunks=8), row(width=64)]])
def test_a_file_varies_one_size(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(SystemExit, match="must vary one size"):
        varied_size(rows)


def test_command_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    picture = tmp_path / "scaling.png"
    monkeypatch.setattr("sys.argv", ["scaling", str(tmp_path / "rows.json"), "--picture", str(picture)])
    scaling.main()
    assert picture.stat().st_size > 5_000 and picture.with_suffix(".svg").is_file()
    assert "chunks C" in capsys.readouterr().out

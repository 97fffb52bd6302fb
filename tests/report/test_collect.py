"""Rows: what is read from run folders, and what is said of damaged ones."""

import json
from collections.abc import Callable

import pytest

from memlab.errors import UserError
from memlab.report.collect import Point, collect
from memlab.storage.run_folder import RunFolder
from tests.report.conftest import SCORE, settings

MakePoint = Callable[..., Point]


def test_a_row_has_the_metrics_of_every_evaluation(make_point: MakePoint) -> None:
    [row] = collect([make_point("blank_copy", 0.9)])
    assert row["token_accuracy"] == pytest.approx(0.9)
    assert row["free_running_token_accuracy"] == 0.45
    assert row["capacity/memory_floats"] == 128
    assert set(row["windows"]) == {""} and len(row["windows"][""]["correct"]) == 64
    assert (row["windows"][""]["data"], row["windows"][""]["window"]) == ("text0", 32)


def test_metrics_of_several_tables_carry_their_names(make_point: MakePoint) -> None:
    """Also in a file that has one of those tables only, as greedy decoding has."""
    [row] = collect([make_point("trainable", 0.9, tables=("clm", "copy"))])
    assert row["clm/token_accuracy"] == pytest.approx(0.9) and row["copy/token_accuracy"] == pytest.approx(0.7)
    assert row["copy/free_running_token_accuracy"] == 0.45 and row["clm/capacity/memory_floats"] == 128
    assert not {"token_accuracy", "free_running_token_accuracy"} & set(row)
    assert set(row["windows"]) == {"clm", "copy"}
    [stage] = row["stages"]
    assert {"clm/token_accuracy", "copy/token_accuracy"} <= set(stage["curve"])


def test_another_text_stands_in_front_of_its_metrics_and_windows(make_point: MakePoint) -> None:
    point = make_point("no_memory", 0.9)
    run = RunFolder.open(point["folder"])
    other = settings("Score", data="other")
    run.write_evaluation("evaluation-score-0123.json", other, run.read_evaluation(SCORE) | {"settings": other})
    asked = {"file": "evaluation-score-0123.json", "prefix": "fineweb/", "nested": True, "settings": other}
    [row] = collect([{**point, "evaluations": [*point["evaluations"], asked]}])
    assert row["fineweb/copy/token_accuracy"] == row["token_accuracy"]
    assert {place: found["data"] for place, found in row["windows"].items()} == {"": "text0", "fineweb/copy": "other"}


def test_two_evaluations_with_the_same_metrics_are_refused(make_point: MakePoint) -> None:
    point = make_point("no_memory", 0.9)
    with pytest.raises(UserError, match="no table can tell them apart"):
        collect([{**point, "evaluations": point["evaluations"] * 2}])


def test_a_point_evaluated_otherwise_than_asked_is_not_finished(make_point: MakePoint) -> None:
    point = make_point("no_memory", 0.9)
    assert len(collect([point])) == 1
    point["evaluations"][1]["settings"] = settings("Greedy", window=64)
    assert collect([point]) == []


def test_curves_are_of_the_decoder_and_have_what_they_cost(make_point: MakePoint) -> None:
    [row] = collect([make_point("curriculum", 0.9)])
    assert [(stage["name"], stage["of"]) for stage in row["stages"]] == [
        ("autoencoder", "encoder"),
        ("blank", "decoder"),
        ("copy", "decoder"),
    ]
    assert row["stages"][0]["curve"] == {}
    curve = row["stages"][1]["curve"]
    assert curve["steps"] == [50, 100, 150, 200, 250, 300], "rows of training metrics are no validations"
    assert curve["tokens"] == [10 * step for step in curve["steps"]]
    assert curve["seconds"] == [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]
    assert curve["token_accuracy"][0] == float(f"{0.9 * (1 - 2 ** (-50 / 60)):.6g}")


def test_an_encoder_that_is_all_there_is_has_a_curve(make_point: MakePoint) -> None:
    point = make_point("no_memory", 0.9)
    [row] = collect([{**point, "encoder_stages": 1}])
    assert [stage["of"] for stage in row["stages"]] == ["decoder"]


def test_a_curve_has_no_number_where_a_validation_has_none(make_point: MakePoint) -> None:
    point = make_point("no_memory", 0.9)
    path = point["folder"] / "metrics.jsonl"
    rows = [
        {"step": 1, "tokens": 2, "seconds": 3.0, "val/cross_entropy": float("nan"), "val/token_accuracy": 0.5},
        {"step": 4, "tokens": 5, "seconds": 6.0, "val/cross_entropy": 1.0},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [row] = collect([point])
    curve = row["stages"][0]["curve"]
    assert curve["cross_entropy"] == [None, 1.0] and curve["token_accuracy"] == [0.5, None]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        *(("provenance.json", content) for content in (b"", b"{", b"[]", b"null", b"\xff\xfe")),
        *(("metrics.jsonl", content) for content in (b'{"tokens": 3}\n', b"{}}\n", b"\xff\xfe\n")),
        *(
            (SCORE, json.dumps({"settings": settings("Score"), **content}).encode())
            for content in ({}, {"metrics": []}, {"metrics": {"copy": 1}}, {"metrics": {}, "windows": None})
        ),
    ],
)
def test_a_damaged_file_of_a_finished_run_is_named(make_point: MakePoint, file: str, content: bytes) -> None:
    point = make_point("curriculum", 0.3)
    (point["folder"] / file).write_bytes(content)
    with pytest.raises(UserError, match=rf"{file} .*: delete .* and run that stage again"):
        collect([point])


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}"])
def test_a_point_with_a_damaged_evaluation_is_not_finished(make_point: MakePoint, content: str) -> None:
    """The next command that needs it makes the evaluation again."""
    point = make_point("curriculum", 0.3)
    (point["folder"] / SCORE).write_text(content)
    assert collect([point]) == []

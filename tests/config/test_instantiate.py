"""Specifications to objects, and what is wrong with them."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest

from memlab.config.instantiate import build, verify
from memlab.errors import UserError

HERE = __name__


class Part:
    def __init__(self, size: int, *, rate: float = 0.5, name: str | None = None) -> None:
        self.size, self.rate, self.name = size, rate, name


class Whole:
    def __init__(
        self,
        *,
        part: Callable[..., Part] | None,
        parts: Sequence[Callable[..., Part]] = (),
        kind: Literal["one", "two"] = "one",
        anything: Any = None,
        flag: bool = False,
    ) -> None:
        self.part, self.parts, self.kind, self.anything, self.flag = part, parts, kind, anything, flag


class Open:
    def __init__(self, size: int, **more: Any) -> None:
        self.size, self.more = size, more


PART = {"_target_": f"{HERE}.Part", "_partial_": True}
WHOLE = {"_target_": f"{HERE}.Whole", "part": PART}


def test_targets_are_built_from_the_inside() -> None:
    spec = {
        **WHOLE,
        "parts": [PART, {**PART, "rate": 1}],
        "anything": {"list": [{**PART, "_partial_": False, "size": 3}]},
    }
    whole = build(spec, flag=True)
    assert whole.part(2).size == 2 and whole.part(2, rate=0.1).rate == 0.1
    assert [part(1).rate for part in whole.parts] == [0.5, 1]
    assert whole.anything["list"][0].size == 3 and whole.flag is True
    assert build({"a": [1, {"b": None}]}) == {"a": [1, {"b": None}]}, "plain values stay what they are"


def test_what_is_built_twice_is_two_objects() -> None:
    spec = {"_target_": f"{HERE}.Part", "size": 1}
    assert build(spec) is not build(spec) and spec == {"_target_": f"{HERE}.Part", "size": 1}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"_target_": "memlab.models.Nothing"}, "_target_=memlab.models.Nothing cannot be imported"),
        ({"_target_": "no_such_package.Thing"}, "No module named 'no_such_package'"),
        ({"_target_": "word"}, "_target_=word cannot be imported"),
        ({"_target_": f"{HERE}.HERE"}, "is not a class or a function"),
        ({**WHOLE, "prt": 1}, "Whole does not take prt. Valid keys: part, parts, kind, anything, flag"),
        ({**WHOLE, "part": {**PART, "sizes": 1}}, "Part (part) does not take sizes. Valid keys: size, rate, name"),
        ({**WHOLE, "parts": [PART, {**PART, "n": 1}]}, "Part (parts.1) does not take n."),
        ({**PART, "size": "many"}, "Part: size=many should be int"),
        ({**PART, "size": 1.5}, "size=1.5 should be int"),
        ({**PART, "size": True}, "size=True should be int"),
        ({**PART, "size": None}, "size=null should be int"),
        ({**PART, "rate": "1"}, "rate=1 should be float"),
        ({**PART, "name": 3}, "name=3 should be str | None"),
        ({**WHOLE, "part": "mixer"}, "part=mixer should be"),
        ({**WHOLE, "parts": 3}, "parts=3 should be"),
        ({**WHOLE, "kind": "three"}, "kind=three should be Literal['one', 'two']"),
        ({**WHOLE, "flag": 1}, "flag=1 should be bool"),
        ({"_target_": f"{HERE}.Open", "size": "x", "other": 1}, "size=x should be int"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(spec: dict[str, Any], message: str) -> None:
    for look in (build, verify):
        with pytest.raises(UserError) as error:
            look(spec)
        assert message in str(error.value)


def test_values_that_fit_are_let_through() -> None:
    for spec in (
        {**PART, "size": 1, "rate": 1, "name": None},
        {**WHOLE, "part": None, "kind": "two", "anything": object()},
        {"_target_": f"{HERE}.Open", "size": 1, "other": 1},
        {"_target_": "torch.optim.AdamW", "_partial_": True, "betas": [0.9, 0.999], "fused": None, "lr": 1},
        {"_target_": "builtins.dict", "a": 1},
    ):
        verify(spec)
        build(spec)


def test_a_missing_partial_is_said() -> None:
    with pytest.raises(UserError, match=r"Part \(part\) needs size: give it, or add _partial_: true"):
        build({**WHOLE, "part": {"_target_": f"{HERE}.Part"}})
    assert build({"_target_": f"{HERE}.Part"}, size=2).size == 2


def test_verifying_calls_nothing() -> None:
    verify({"_target_": "os.abort"})
    verify({"_target_": f"{HERE}.Part"})

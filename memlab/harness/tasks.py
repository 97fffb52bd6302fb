"""Small tasks of the harness's formats, made from held-out text: what can be asked where no benchmark is at hand."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from memlab.data import TextCodec

Documents = list[dict[str, Any]]
CHOICES = 4


def held_out_tasks(names: Sequence[str], codec: TextCodec, windows: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Return the harness's configs of some tasks of LOCAL. windows: token ids of held-out windows, of one length."""
    return [{"task": name, **LOCAL[name][1], **_data(LOCAL[name][0](codec, windows))} for name in names]


def _data(documents: Documents) -> dict[str, Any]:
    from datasets import Dataset

    made = {"test": Dataset.from_list(documents)}
    return {"custom_dataset": lambda **_: made, "test_split": "test"}


def _choice(codec: TextCodec, windows: Sequence[Sequence[int]]) -> Documents:
    """Ask which of four texts goes on: the window's own last eighth, or those of the three windows behind it."""
    cut = len(windows[0]) - max(1, len(windows[0]) // 8)
    ends = [codec.decode(list(window[cut:])) for window in windows]
    found = []
    for number, window in enumerate(windows):
        others = [ends[(number + step) % len(ends)] for step in range(1, CHOICES)]
        answer = number % CHOICES
        choices = [*others[:answer], ends[number], *others[answer:]]
        found.append({"context": codec.decode(list(window[:cut])), "choices": choices, "answer": answer})
    return found


def _word(codec: TextCodec, windows: Sequence[Sequence[int]]) -> Documents:
    """Ask for the last whole word of each window, as LAMBADA does; windows of fewer than three words are left out."""
    found = []
    for window in windows:
        text = codec.decode(list(window))
        words = list(re.finditer(r"\S+", text))  # the last one may be cut off
        if len(words) >= 3:
            start, end = words[-3].end(), words[-2].end()
            found.append({"context": text[:start], "word": text[start:end]})
    return found


def _text(codec: TextCodec, windows: Sequence[Sequence[int]]) -> Documents:
    """Ask for the perplexity of each window."""
    return [{"text": codec.decode(list(window))} for window in windows]


# By name: what makes the documents, and how the harness asks and scores.
LOCAL: dict[str, tuple[Callable[[TextCodec, Sequence[Sequence[int]]], Documents], dict[str, Any]]] = {
    "held_out_choice": (
        _choice,
        {
            "output_type": "multiple_choice",
            "doc_to_text": "{{context}}",
            "doc_to_target": "{{answer}}",
            "doc_to_choice": "{{choices}}",
            "target_delimiter": "",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        },
    ),
    "held_out_word": (
        _word,
        {
            "output_type": "loglikelihood",
            "doc_to_text": "{{context}}",
            "doc_to_target": "{{word}}",
            "target_delimiter": "",
            "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
        },
    ),
    "held_out_text": (
        _text,
        {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [{"metric": "bits_per_byte"}],
        },
    ),
}

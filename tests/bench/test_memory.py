"""Bytes at the peak of a computation, and in decoding states."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from memlab.bench.memory import peak_bytes, state_bytes
from memlab.models import LanguageModel
from tests.tiny import CHUNKS, LENGTH, VOCAB, WIDTH, causal_lm, memory_model, recurrent

N = 250_000  # numbers of an array: 1 MB
KB = 1_000


def test_the_peak_is_what_is_in_use_at_once() -> None:
    def two_of_three() -> None:
        a = torch.empty(N)
        b = torch.empty(N)
        del a
        torch.empty(N)
        del b

    assert peak_bytes(two_of_three, "cpu") == pytest.approx(8 * N, abs=KB)


def test_temporary_arrays_and_graphs_count_and_earlier_arrays_do_not() -> None:
    x = torch.ones(N, requires_grad=True)  # before: does not count

    def backward() -> None:
        (x.exp() * 2).sum().backward()  # exp is kept for the gradient; its product, then gradients, come and go
        x.grad = None

    peak = peak_bytes(backward, "cpu")
    assert 3 * 4 * N - KB <= peak <= 4 * 4 * N + KB
    assert peak_bytes(backward, "cpu") == peak, "equal runs give equal numbers"


def test_what_is_released_does_not_make_a_negative_peak() -> None:
    held = [torch.ones(N)]
    assert peak_bytes(held.clear, "cpu") == 0


@dataclass
class State:
    tensor: Tensor
    count: int
    inner: Any


def test_a_state_is_all_its_tensors_once() -> None:
    shared = torch.zeros(3, dtype=torch.float64)
    state = State(torch.zeros(2, 5), 7, [{"keys": shared, "again": shared}, (torch.zeros(4, dtype=torch.int64),)])
    assert state_bytes(state) == 2 * 5 * 4 + 3 * 8 + 4 * 8
    assert state_bytes({}) == 0


LAYERS, FLOAT = 2, 4  # blocks of a stack; bytes of a number
POSITION = 2 * LAYERS * WIDTH * FLOAT  # bytes of a position's keys and values


@pytest.mark.parametrize(
    ("model", "positions", "more"),
    [
        (causal_lm("transformer"), 2 * LENGTH + 1, 0),
        (recurrent("transformer"), 2, WIDTH * FLOAT),  # the read slot and the token; the memory itself
        (memory_model("transformer"), CHUNKS + 1, 8),  # slots and the token; its id
    ],
    ids=["full context", "recurrent", "memory"],
)
@torch.inference_mode()
def test_state_of_known_models(model: LanguageModel, positions: int, more: int) -> None:
    """Behind two chunks and one token more."""
    tokens_BT = torch.randint(VOCAB, (1, 2 * LENGTH + 1))
    state = model.open(tokens_BT[:, :-1].unflatten(1, (2, LENGTH)))
    model.step(tokens_BT[:, -1:], state)
    assert state_bytes(state) == positions * POSITION + more

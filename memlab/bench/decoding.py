"""Reading a text and decoding behind it, timed.

Shape legend: B windows (here 1), C chunks, c the first chunks of a window, L tokens per chunk, V vocabulary.
"""

import time
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from memlab.bench.memory import state_bytes
from memlab.models import LanguageModel

Precision = AbstractContextManager[Any]


class Decoding:
    """A model with a text of c chunks of random tokens in front of it; greedy decoding of one window.

    precision: a context in which everything is computed.
    """

    def __init__(self, model: LanguageModel, context: int, device: str, precision: Precision) -> None:
        assert context % model.length == 0, "whole chunks"
        self.model = model.to(device).eval()
        self.device = device
        self.precision = precision
        generator = torch.Generator().manual_seed(0)
        tokens_BT = torch.randint(2, model.vocab, (1, context + 1), generator=generator).to(device)
        self.chunks_BcL = tokens_BT[:, :context].unflatten(1, (-1, model.length))
        self.next_Bt = tokens_BT[:, context:]

    def first_token(self) -> dict[str, float]:
        """Read the text and the first token behind it; return the seconds until the next token is known."""
        return {"first_token_seconds": self._first()[0]}

    def decode(self) -> dict[str, float]:
        """Read the text, then decode L tokens: to the end of a chunk, and the first one of the next chunk.

        Return the seconds to the first token, the seconds per further token, and the bytes of the state: when the text
        has been read and no chunk is open, and at the chunk's end, where the state is largest.
        """
        first, token_Bt, state, of_text = self._first()
        seconds, token_Bt = self._steps(token_Bt, state, self.model.length - 1)
        largest = state_bytes(state)
        last, _ = self._steps(token_Bt, state, 1)
        return {
            "first_token_seconds": first,
            "token_seconds": (seconds + last) / self.model.length,
            "state_bytes": largest,
            "text_state_bytes": of_text,
        }

    def warm_up(self) -> None:
        """Read one chunk and decode a token."""
        with torch.inference_mode(), self.precision:
            state = self.model.open(self.chunks_BcL[:, :1])
            self._step(self._step(self.next_Bt, state), state)
        wait(self.device)

    def _first(self) -> tuple[float, Tensor, Any, int]:
        """Return the seconds to the first token, the token, the state behind it, and bytes of the text's own state."""
        with torch.inference_mode(), self.precision:
            started = time.perf_counter()
            state = self.model.open(self.chunks_BcL)
            of_text = state_bytes(state)  # adds up sizes, which takes no time to speak of
            token_Bt = self._step(self.next_Bt, state)
            wait(self.device)
            return time.perf_counter() - started, token_Bt, state, of_text

    def _steps(self, token_Bt: Tensor, state: Any, count: int) -> tuple[float, Tensor]:
        with torch.inference_mode(), self.precision:
            started = time.perf_counter()
            for _ in range(count):
                token_Bt = self._step(token_Bt, state)
            wait(self.device)
            return time.perf_counter() - started, token_Bt

    def _step(self, token_Bt: Tensor, state: Any) -> Tensor:
        """Return the likeliest next token (B, 1)."""
        return self.model.head(self.model.step(token_Bt, state)).argmax(-1)


def wait(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()

"""A finished model as the lm-evaluation-harness calls one."""

from itertools import islice
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from tqdm import tqdm

from memlab.data import TextCodec
from memlab.errors import UserError
from memlab.models import LanguageModel
from memlab.use.generate import Chooser, Sampling, continuations, open_context
from memlab.use.load import load
from memlab.use.score import Scored, score_texts

BATCH = 64
NEW_TOKENS = 256  # of an answer whose task names no number


class MemlabLM(LM):
    """`--model memlab --model_args pretrained=RUN,revision=main`.

    Every token is scored that has a token in front of it: memlab's models have no token for the beginning of a text, so
    a text's very first token costs nothing. A model of C chunks reads the memories of the last C - 1 chunks; longer
    texts are read chunk by chunk, and none is cut off.

    pretrained: what `memlab.load` takes. device: the harness asks for cuda:0 by itself; without a GPU that is the CPU.
    batch_size: texts that are scored together; auto: 64.
    Raises UserError for a model that does not predict next tokens.
    """

    def __init__(
        self,
        pretrained: str,
        device: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        if device is None or (device.startswith("cuda") and not torch.cuda.is_available()):
            device = "cpu"
        loaded = load(pretrained, device=device, revision=revision)
        loaded.require_context(None, 0)
        self._take(loaded.model, loaded.codec, loaded.fingerprint)
        self.batch_size = max_batch_size or BATCH
        if batch_size is not None and not str(batch_size).startswith("auto"):
            self.batch_size = int(batch_size)

    @classmethod
    def of(cls, model: LanguageModel, codec: TextCodec) -> "MemlabLM":
        """Return the same for a model at hand, which predicts next tokens."""
        made = cls.__new__(cls)
        LM.__init__(made)
        made._take(model, codec, "at hand")
        return made

    def _take(self, model: LanguageModel, codec: TextCodec, name: str) -> None:
        self.model = model
        self.codec = codec
        self.name = name
        self.batch_size = BATCH

    @property
    def tokenizer_name(self) -> str:
        return self.name  # the harness's cache of requests keeps models apart by this name

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return, for each (context, continuation), its log probability in nats, and whether greedy would write it."""
        parts = [_split(*request.args) for request in requests]
        texts = [self.codec.encode(context + rest) for context, rest in parts]
        first = [len(self.codec.encode(context)) for context, _ in parts]
        scored = self._score(texts, "loglikelihood", disable_tqdm)
        return [_behind(of, start) for of, start in zip(scored, first, strict=True)]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log probability of each whole text, in nats."""
        texts = [self.codec.encode(request.args[0]) for request in requests]
        return [-of.nats for of in self._score(texts, "rolling", disable_tqdm)]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return what the model writes behind each context, up to the first of its stop words."""
        shown = tqdm(requests, desc="generate_until", disable=disable_tqdm)
        return [self._write(*request.args) for request in shown]

    def _score(self, texts: list[list[int]], name: str, quiet: bool) -> list[Scored]:
        if not all(texts):
            raise UserError("a task has a text without a token: it cannot be scored")
        with tqdm(total=len(texts), desc=name, disable=quiet) as bar:
            return score_texts(self.model, texts, self.batch_size, firsts=True, tick=bar.update)

    @torch.no_grad()
    def _write(self, prompt: str, how: dict[str, Any]) -> str:
        until = how.get("until") or []
        stops = [until] if isinstance(until, str) else list(until)
        ids = self.codec.encode(prompt)
        if not ids:
            raise UserError("a task has an empty prompt: the model needs a token to go on from")
        temperature = float(how.get("temperature", 0.0)) if how.get("do_sample") else 0.0
        context, rest = open_context(self.model, [ids], [None])
        count = int(how.get("max_gen_toks", NEW_TOKENS))
        choose = Chooser(Sampling(temperature, float(how.get("top_p", 1.0))), [0])
        written: list[int] = []
        for new in islice(continuations(context, rest, count, choose), count):
            written.append(new[0])
            text = self.codec.decode(written)
            if ends := [text.find(stop) for stop in stops if stop and stop in text]:
                return text[: min(ends)]
        return self.codec.decode(written)


def _split(context: str, continuation: str) -> tuple[str, str]:
    """Move blanks at the context's end to the continuation, where tokenizers want them."""
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation


def _behind(scored: Scored, first: int) -> tuple[float, bool]:
    """Return the log probability of the tokens from place `first` on, and whether each of them was the likeliest."""
    chosen = [row for row, place in enumerate(scored.places) if place >= first]
    return -sum(scored.nats_of[row] for row in chosen), all(scored.likeliest[row] for row in chosen)

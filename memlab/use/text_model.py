"""A finished model at work on texts (shapes: see context.py; R chunks of a batch, N chunks of all texts)."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

import torch

from memlab.config.stage import Config, Stage
from memlab.data import TextCodec
from memlab.errors import UserError
from memlab.models import LanguageModel
from memlab.use.card import card_of
from memlab.use.folder import write_folder
from memlab.use.generate import Letters, Sampling, generate_rows
from memlab.use.hub import upload
from memlab.use.memories import Memories
from memlab.use.regenerate import regenerate
from memlab.use.retention import Retention, compare, copied
from memlab.use.score import Scored, score_texts

BATCH = 64  # chunks that an encoder reads together, and texts that are scored together


class TextModel:
    """What `memlab.load` returns: a model, its tokenizer, and what it was trained as.

    model: the torch module, in evaluation mode and frozen. codec: the tokenizer. stage: what was trained.
    fingerprint: its name among stages, which its memories carry. folder: where it was loaded from, if it was.
    A model does what its kind can: an autoencoder encodes and decodes, a chunk encoder encodes, a memory model encodes
    and generates, a causal and a recurrent model generate. Everything else is a UserError that says so.
    """

    def __init__(
        self,
        model: LanguageModel,
        codec: TextCodec,
        stage: Stage,
        fingerprint: str,
        *,
        folder: Path | None = None,
        trust: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.codec = codec
        self.stage = stage
        self.fingerprint = fingerprint
        self.folder = folder
        self._trust = trust

    @property
    def config(self) -> Config:
        """The specification that the model was built from, as plain values."""
        return self.stage.model

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def __repr__(self) -> str:
        layout = f"{self.model.chunks} chunks of {self.model.length} tokens"
        return f"<{type(self.model).__name__} {self.stage.name}-{self.fingerprint}: {layout}, on {self.device}>"

    @torch.no_grad()
    def encode(self, texts: str | Sequence[str]) -> Memories:
        """Return the memories of texts, chunk by chunk; a text's last chunk is filled up with the blank token.

        Raises UserError for a model without an encoder, and where no text has a token.
        """
        if self.model.encoder is None:
            raise UserError(f"{self._name} has no encoder: it cannot make the memories of a chunk by itself")
        length = self.model.length
        documents = [self.token_ids(text) for text in _several(texts)]
        cut = [ids[start : start + length] for ids in documents for start in range(0, len(ids), length)]
        if not cut:
            raise UserError("there is no text to encode")
        blank = self.codec.blank
        tokens_NL = torch.tensor([ids + [blank] * (length - len(ids)) for ids in cut])
        made = [self.model.make_memories(rows_RL.to(self.device)).float().cpu() for rows_RL in tokens_NL.split(BATCH)]
        return Memories(
            vectors=torch.cat(made),
            tokens=tokens_NL,
            counts=tuple(map(len, cut)),
            texts=tuple(map(self.codec.decode, cut)),
            chunks=tuple(-(-len(ids) // length) for ids in documents),
            floats=self.model.memory_floats,
            bits=self.model.memory_floats * self.model.float_bits,
            made_by=self.fingerprint,
        )

    def decode(self, memories: Memories) -> list[str]:
        """Return the text that the model reads out of the memories, one for each text that was encoded.

        Raises UserError for a model that does not regenerate, and for memories that another model made.
        """
        ids = iter(self._regenerate(memories))
        return [self.codec.decode([token for _ in range(count) for token in next(ids)]) for count in memories.chunks]

    @overload
    def generate(
        self,
        prompt: str,
        *,
        memories: Memories | None = ...,
        max_new_tokens: int = ...,
        temperature: float = ...,
        top_p: float = ...,
        seed: int = ...,
        stream: Callable[[str], object] | None = ...,
    ) -> str: ...

    @overload
    def generate(
        self,
        prompt: list[str],
        *,
        memories: Memories | Sequence[Memories] | None = ...,
        max_new_tokens: int = ...,
        temperature: float = ...,
        top_p: float = ...,
        seed: int = ...,
    ) -> list[str]: ...

    def generate(
        self,
        prompt: str | list[str],
        *,
        memories: Memories | Sequence[Memories] | None = None,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stream: Callable[[str], object] | None = None,
    ) -> str | list[str]:
        """Return what the model writes behind a prompt, or behind each of several; without the prompt.

        memories: of the chunks in front of the prompt, at most C - 1, or such memories for each prompt. The prompt
            begins a new chunk. When more than C - 1 chunks lie behind, the oldest fall out.
        temperature, top_p, seed: see Sampling; by default the likeliest token is taken.
        stream: called with each piece of text as soon as it is there; for a single prompt.
        Raises UserError for a model that does not generate, an empty prompt, and memories that do not fit.
        """
        prompts = _several(prompt)
        if stream is not None and not isinstance(prompt, str):
            raise UserError("stream= takes a single prompt, not a list")
        letters = Letters(self.codec)
        each = None if stream is None else lambda token: _send(stream, letters.add(token))
        written = self.generate_tokens(
            [self.token_ids(text) for text in prompts],
            memories=memories,
            max_new_tokens=max_new_tokens,
            sampling=Sampling(temperature, top_p, seed),
            each=each,
        )
        if stream is not None:
            _send(stream, letters.rest())
        texts = [self.codec.decode(ids) for ids in written]
        return texts[0] if isinstance(prompt, str) else texts

    def generate_tokens(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        memories: Memories | Sequence[Memories] | None = None,
        max_new_tokens: int = 64,
        sampling: Sampling | None = None,
        each: Callable[[int], object] | None = None,
    ) -> list[list[int]]:
        """Do what `generate` does with token ids. each: called with every new token of a single prompt."""
        if any(not prompt for prompt in prompts):
            raise UserError("the prompt is empty: give at least one token, from which the model goes on")
        given = self.require_context(memories, len(prompts))
        return generate_rows(self.model, prompts, given, max_new_tokens, sampling or Sampling(), each)

    def nll(self, texts: str | Sequence[str]) -> list[float]:
        """Return the negative log-likelihood of each text, in nats, summed over its scored tokens.

        As in the evaluation, every token is scored but the first of each chunk. A chunk is read behind the last C - 1
        chunks of its text.
        """
        return [scored.nats for scored in self._scored(texts)]

    def bits_per_byte(self, texts: str | Sequence[str]) -> float:
        """Return bits per byte of the scored tokens (see nll), over all texts together.

        Raises UserError for texts without a scored token.
        """
        scored = self._scored(texts)
        size = sum(int(self.codec.token_bytes[list(of.tokens)].sum()) for of in scored if of.tokens)
        if not size:
            raise UserError("no token is scored: give a text of at least two tokens")
        return sum(of.nats for of in scored) / math.log(2) / size

    def retention(self, text: str) -> Retention:
        """Return a text beside what the model gives back of it: an autoencoder from the memories alone, a memory model
        by copying greedily, as its objective asks for.

        Raises UserError for a model that does neither.
        """
        ids = self.token_ids(text)
        if not ids:
            raise UserError("there is no text to encode")
        if "regenerate" in self.model.can:
            memories = self.encode(text)
            chunks = [row[:count].tolist() for row, count in zip(memories.tokens, memories.counts, strict=True)]
            return compare(self.codec, chunks, self._regenerate(memories))
        self._require_generating()
        return compare(self.codec, *copied(self.model, self.stage, self.codec, self._trust, ids))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write model.safetensors, config.json, the tokenizer and a model card into a folder that `memlab.load` reads.

        A card that came with the model is kept. Raises UserError for the folder of a run.
        """
        state = self.model.state_dict()
        weights = {name: state[name] for name in self.model.saved_names()}
        card = card_of(self.folder, self.stage, self.fingerprint)
        write_folder(Path(folder).expanduser(), self.stage, self.fingerprint, weights, self.codec, card)

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, revision: str | None = None, token: str | None = None
    ) -> str:
        """Upload what `save_pretrained` writes to owner/name on the Hugging Face Hub; see memlab/use/hub.py."""
        return upload(self, repo_id, private, revision, token)

    def token_ids(self, text: str) -> list[int]:
        """Return the token ids of a text. Raises UserError for what is no text."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError("the text has half a surrogate pair, which is no letter: take it out") from None
        return self.codec.encode(text)

    def require_context(self, memories: Memories | Sequence[Memories] | None, prompts: int) -> list[Memories | None]:
        """Return the memories in front of each prompt. Raises UserError unless the model generates and reads them."""
        self._require_generating()
        several = [memories] * prompts if memories is None or isinstance(memories, Memories) else list(memories)
        if len(several) != prompts:
            raise UserError(f"there are {len(several)} sets of memories for {prompts} prompts: give one for each")
        most = self.model.chunks - 1
        for given in several:
            if given is not None:
                self._require_own(given)
                if len(given) > most:
                    choose = f"choose some, such as memories[-{most}:]" if most else "leave them out"
                    raise UserError(f"the model reads memories of {most} chunks at most, not {len(given)}: {choose}")
        return list(several)

    @property
    def _name(self) -> str:
        return f"this {type(self.model).__name__}"

    def _require_generating(self) -> None:
        if "predict" not in self.model.can:
            can = ", ".join(sorted(self.model.can)) or "nothing"
            raise UserError(f"{self._name} does not predict next tokens; it can {can}: take a memory or causal model")
        if not self.model.generates:
            raise UserError(
                f"{self._name} must be told the memories of the very text that it predicts: it cannot be used to"
                " generate or to score text"
            )

    def _scored(self, texts: str | Sequence[str]) -> list[Scored]:
        self._require_generating()
        ids = [self.token_ids(text) for text in _several(texts)]
        return score_texts(self.model, ids, BATCH)

    def _regenerate(self, memories: Memories) -> list[list[int]]:
        """Return the real tokens of each chunk, as the model reads them out of its memories."""
        if "regenerate" not in self.model.can:
            raise UserError(
                f"{self._name} does not regenerate text from memories alone: take an autoencoder, or see what this"
                " model gives back with retention(text)"
            )
        self._require_own(memories)
        return regenerate(self.model, memories, self.codec.blank, BATCH)

    def _require_own(self, memories: Memories) -> None:
        if memories.made_by != self.fingerprint:
            raise UserError(
                f"these memories were made by {memories.made_by}, and this model is {self.fingerprint}: encode the text"
                " with this model"
            )


def _several(texts: str | Sequence[str]) -> list[str]:
    several = [texts] if isinstance(texts, str) else list(texts)
    if not several or not all(isinstance(text, str) for text in several):
        raise UserError("give a text or a list of texts")
    return several


def _send(stream: Callable[[str], object], piece: str) -> None:
    if piece:
        stream(piece)

"""What an experiment on speed measures: training steps, decoding behind contexts, reading a text in s chunks.

Arms take turns. A `repetition` builds every model again and gives {arm: {quantity: [a number per round]}}.
"""

from collections.abc import Callable, Iterator, Mapping

import torch

from memlab.bench.alternate import Quantities, alternate
from memlab.bench.decoding import Decoding
from memlab.bench.training_step import TrainingStep, device_of, operations_per_token, precision_of
from memlab.config.instantiate import build
from memlab.config.stage import Job
from memlab.errors import UserError
from memlab.models import LanguageModel
from memlab.models.base import require_positive
from memlab.training.trainer import speed_up

PARTS = ("train", "decode", "read")
ROOM = 2  # chunks behind a context that is decoded: the one to decode, and the first token of the next

Rounds = dict[str, dict[str, list[float]]]


class Throughput:
    """How an arm is measured.

    parts: some of train, decode and read.
    rounds: times that the arms take turns within a repetition; after most_seconds no further round begins.
    read_rounds: the same of the numbers of chunks in which a text is read.
    most_bytes: of a model's weights: a mixer's grow with the square of its context, so a larger one is left out there.
    contexts: tokens that decoding follows, whole chunks of the scale's length.
    tokens, lengths: of texts that are read in s = tokens / length chunks; each length divides each number of tokens.
    Raises UserError for values that cannot be.
    """

    def __init__(
        self,
        *,
        parts: list[str],
        rounds: int,
        read_rounds: int,
        most_seconds: float,
        most_bytes: int,
        contexts: list[int],
        tokens: list[int],
        lengths: list[int],
    ) -> None:
        if unknown := sorted(set(parts) - set(PARTS)):
            raise UserError(f"measurement.parts={unknown}: choose some of {', '.join(PARTS)}")
        for name, values in (("contexts", contexts), ("tokens", tokens), ("lengths", lengths)):
            if not values or min(values) < 1:
                raise UserError(f"measurement.{name}={values}: choose whole numbers of at least 1")
        require_positive(rounds=rounds, read_rounds=read_rounds)
        for text in tokens:
            if wrong := [length for length in lengths if text % length or length >= text]:
                raise UserError(f"measurement.lengths={wrong}: a text of {text} tokens is not so many whole chunks")
        if "read" in parts and (len(tokens) < 2 or len(lengths) < 3):
            raise UserError(
                "measurement.tokens and lengths: how cost grows takes two texts, and three lengths of chunks"
            )
        self.parts = parts
        self.rounds = rounds
        self.read_rounds = read_rounds
        self.most_seconds = most_seconds
        self.most_bytes = most_bytes
        self.contexts = contexts
        self.tokens = tokens
        self.lengths = lengths

    def require(self, job: Job) -> None:
        """Raise UserError if an arm cannot be measured so."""
        precision_of(job.stage.training, "cpu")
        length = job.stage.model["length"]
        if "decode" in self.parts and (wrong := [context for context in self.contexts if context % length]):
            raise UserError(f"measurement.contexts={wrong}: choose multiples of scale.chunk_length={length}")


def repetition(jobs: Mapping[str, Job]) -> Iterator[tuple[str, Rounds]]:
    """Measure all arms once: yield what was measured together, and its name. There are `steps_of` such yields."""
    hows = {arm: how_of(job) for arm, job in jobs.items()}
    training = [arm for arm, how in hows.items() if "train" in how.parts]
    if training:
        yield "training steps", _train({arm: jobs[arm] for arm in training}, hows[training[0]])
    decoding = [arm for arm, how in hows.items() if "decode" in how.parts]
    for context in sorted({context for arm in decoding for context in hows[arm].contexts}):
        own = {arm: jobs[arm] for arm in decoding if context in hows[arm].contexts}
        yield f"decoding behind {context:,} tokens", _decode(own, hows[decoding[0]], context)
    for arm, how in hows.items():
        for tokens in how.tokens if "read" in how.parts else ():
            yield f"{arm}, {tokens:,} tokens in s chunks", {arm: _read(jobs[arm], how, tokens)}


def steps_of(jobs: Mapping[str, Job]) -> int:
    """Return how many things a repetition measures, one after another."""
    hows = [how_of(job) for job in jobs.values()]
    contexts = {context for how in hows if "decode" in how.parts for context in how.contexts}
    reads = sum(len(how.tokens) for how in hows if "read" in how.parts)
    return any("train" in how.parts for how in hows) + len(contexts) + reads


def how_of(job: Job) -> Throughput:
    """Return how an arm is measured. Raises UserError for values that cannot be."""
    how = build(job.config["measurement"])
    assert isinstance(how, Throughput), how
    return how


def _train(jobs: Mapping[str, Job], how: Throughput) -> Rounds:
    steps = {arm: TrainingStep(job) for arm, job in jobs.items()}
    for step in steps.values():
        step.warm_up()
    rounds = alternate({arm: step.timed for arm, step in steps.items()}, how.rounds, how.most_seconds)
    for arm, step in steps.items():
        rounds[arm]["tokens"] = [float(step.tokens)]
        rounds[arm]["peak_bytes"] = [float(step.peak_bytes())]
        rounds[arm]["operations"] = [operations_per_token(jobs[arm])]
    return rounds


def _decode(jobs: Mapping[str, Job], how: Throughput, context: int) -> Rounds:
    """Return the quantities of the arms whose models fit, as at_<context>/<quantity>."""
    tasks: dict[str, Callable[[], Quantities]] = {}
    for arm, job in jobs.items():
        length = job.stage.model["length"]
        model = _model(job, {"chunks": context // length + ROOM}, how.most_bytes)
        if model is not None:
            tasks[arm] = _decoding(model, job, context).decode
    rounds = alternate(tasks, how.rounds, how.most_seconds)
    return {arm: {f"at_{context}/{name}": of for name, of in rounds[arm].items()} for arm in tasks}


def _read(job: Job, how: Throughput, tokens: int) -> dict[str, list[float]]:
    """Return the seconds to the first token, by number of chunks, as read_<tokens>/<chunks>."""
    tasks: dict[str, Callable[[], Quantities]] = {}
    for length in how.lengths:
        chunks = tokens // length
        model = _model(job, {"chunks": chunks + 1, "length": length}, how.most_bytes)
        if model is not None:
            tasks[str(chunks)] = _decoding(model, job, tokens).first_token
    rounds = alternate(tasks, how.read_rounds, how.most_seconds)
    return {f"read_{tokens}/{chunks}": of["first_token_seconds"] for chunks, of in rounds.items()}


def _decoding(model: LanguageModel, job: Job, context: int) -> Decoding:
    device = device_of(job.settings)
    speed_up(model, job.settings)
    decoding = Decoding(model, context, device, precision_of(job.stage.training, device))
    decoding.warm_up()
    return decoding


def _model(job: Job, sizes: Mapping[str, int], most_bytes: int) -> LanguageModel | None:
    """Build a stage's model with other sizes; None if its weights would have more than `most_bytes`."""
    spec = {**job.stage.model, **sizes}
    with torch.device("meta"):
        weights = sum(weight.numel() * weight.element_size() for weight in build(spec).parameters())
    if weights > most_bytes:
        return None
    model: LanguageModel = build(spec)
    return model

"""What an experiment on speed measures of an arm: training steps, decoding, reading in chunks."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from memlab.bench.decoding import Decoding
from memlab.bench.throughput import Rounds, Throughput, how_of, repetition, steps_of
from memlab.bench.training_step import TrainingStep, operations_per_token
from memlab.config.compose import compose_sweep
from memlab.config.plan import plan_all
from memlab.config.stage import Job
from memlab.errors import UserError
from memlab.models import LanguageModel, MemoryModel
from tests import tiny
from tests.conftest import smoke
from tests.tiny import CHUNKS, LENGTH, WIDTH

Jobs = Callable[..., dict[str, Job]]
HOW: dict[str, Any] = {
    "parts": ["train", "decode", "read"],
    "rounds": 2,
    "read_rounds": 2,
    "most_seconds": 9.0,
    "most_bytes": 10**9,
    "contexts": [8],
    "tokens": [16, 32],
    "lengths": [2, 4, 8],
}


@pytest.fixture
def jobs_of(corpus: Path, tmp_path: Path) -> Jobs:
    """jobs_of(arms, *overrides): the jobs of throughput's arms by name."""

    def jobs(arms: str, *overrides: str) -> dict[str, Job]:
        words = ["+experiment=throughput", f"arm={arms}", "seed=0", *smoke(corpus, tmp_path), *overrides]
        return {chain.choices["arm"]: chain.jobs[-1] for chain in plan_all(compose_sweep(words).configs)}

    return jobs


def together(steps: Iterable[tuple[str, Rounds]]) -> Rounds:
    found: Rounds = {}
    for _, measured in steps:
        for arm, quantities in measured.items():
            found.setdefault(arm, {}).update(quantities)
    return found


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parts": ["train", "evaluate"]}, r"parts=\['evaluate'\]: choose some of train, decode, read"),
        ({"rounds": 0}, "rounds=0: choose a whole number of at least 1"),
        ({"contexts": []}, "contexts=.*at least 1"),
        ({"lengths": [2, 4, 5]}, r"lengths=\[5\]: a text of 16 tokens is not so many whole chunks"),
        ({"lengths": [2, 4, 16]}, r"lengths=\[16\]"),
        ({"tokens": [16]}, "takes two texts, and three lengths"),
    ],
)
def test_what_cannot_be_measured_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Throughput(**{**HOW, **changed})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("measurement.contexts=[12]", r"contexts=\[12\]: choose multiples of scale.chunk_length=8"),
        ("trainer.precision=64-true", "speeds are measured in 32-true or bf16-mixed"),
    ],
)
def test_an_arm_that_cannot_be_measured_is_refused(jobs_of: Jobs, override: str, message: str) -> None:
    job = jobs_of("memory", override)["memory"]
    with pytest.raises(UserError, match=message):
        how_of(job).require(job)


def test_all_quantities_of_all_arms_are_measured(jobs_of: Jobs) -> None:
    jobs = jobs_of(
        "memory,full_context,memory_cached,reading_narrow", "measurement.rounds=2", "measurement.read_rounds=2"
    )
    steps = list(repetition(jobs))
    assert len(steps) == steps_of(jobs) == 1 + 2 + 2
    found = together(steps)
    training = {"step_seconds": 2, "tokens": 1, "peak_bytes": 1, "operations": 1}
    behind = ("first_token_seconds", "token_seconds", "state_bytes", "text_state_bytes")
    decoded = {f"at_{context}/{name}": 2 for context in (16, 64) for name in behind}
    read = {f"read_{tokens}/{tokens // length}": 2 for tokens in (32, 128) for length in (4, 8, 16)}
    counts = {arm: {name: len(values) for name, values in of.items()} for arm, of in found.items()}
    assert counts == {
        "memory": training | decoded,
        "full_context": training | decoded,
        "memory_cached": training,
        "reading_narrow": read,
    }
    assert all(value > 0 for of in found.values() for values in of.values() for value in values)
    assert found["memory"]["tokens"] == [16 * 4 * 8], "the batch's windows of four chunks"


def test_frozen_encoders_need_less_of_everything(jobs_of: Jobs) -> None:
    jobs = jobs_of("memory,memory_frozen,memory_cached,no_memory")
    operations = {arm: operations_per_token(job) for arm, job in jobs.items()}
    assert operations["memory"] > operations["memory_frozen"] > operations["memory_cached"] == operations["no_memory"]
    steps = {arm: TrainingStep(job) for arm, job in jobs.items() if arm != "no_memory"}
    for step in steps.values():
        step.warm_up()
    peaks = {arm: step.peak_bytes() for arm, step in steps.items()}
    assert peaks["memory"] > peaks["memory_frozen"] >= peaks["memory_cached"]
    weights = sum(parameter.nbytes for parameter in steps["memory"].model.parameters())
    assert peaks["memory"] > 4 * weights, "weights, gradients and two moments"


def test_kept_memories_are_read_and_not_made(jobs_of: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    step = TrainingStep(jobs_of("memory_cached")["memory_cached"])
    step.warm_up()

    def refuse(*_: Any) -> None:
        raise AssertionError("the encoder was called")

    assert step.model.encoder is not None
    monkeypatch.setattr(step.model.encoder, "forward", refuse)
    assert step.timed()["step_seconds"] > 0


def test_a_step_trains(jobs_of: Jobs) -> None:
    step = TrainingStep(jobs_of("memory_frozen")["memory_frozen"])
    before = {name: weight.clone() for name, weight in step.model.named_parameters()}
    step.warm_up()
    changed = {name for name, weight in step.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed and not any(name.startswith("encoder.") for name in changed)
    assert all(weight.grad is None for weight in step.trained)


@pytest.mark.parametrize(
    ("model", "read", "full", "more"),
    [
        (tiny.causal_lm("transformer"), 2 * LENGTH, 3 * LENGTH, 0),
        (tiny.recurrent("transformer"), 1, 1 + LENGTH, WIDTH * 4),
        (tiny.memory_model("transformer"), CHUNKS, CHUNKS + LENGTH, 0),
        (tiny.memory_model("transformer", slots="variable"), 2, 2 + LENGTH, 0),
    ],
    ids=["full context", "recurrent", "memory", "variable"],
)
def test_state_is_that_of_a_chunk_s_end(model: LanguageModel, read: int, full: int, more: int) -> None:
    """Behind two chunks, and with the third one full: keys and values of two layers, a memory, the chunk's tokens."""
    found = Decoding(model, 2 * LENGTH, "cpu", nullcontext()).decode()
    of_position = 2 * 2 * WIDTH * 4
    assert found["text_state_bytes"] == read * of_position + more
    tokens = LENGTH * 8 if isinstance(model, MemoryModel) else 0
    assert found["state_bytes"] == full * of_position + more + tokens


@pytest.mark.parametrize("kind", ["mixer", "transformer"])
@pytest.mark.parametrize("make", [tiny.causal_lm, tiny.recurrent, tiny.memory_model], ids=lambda make: make.__name__)
def test_tokens_are_those_of_whole_passes(make: Callable[[str], LanguageModel], kind: str) -> None:
    """The first token behind two chunks, and the last one of the third chunk, which reads the tokens before."""
    model = make(kind).eval()
    run = Decoding(model, 2 * LENGTH, "cpu", nullcontext())
    _, token_Bt, state, _ = run._first()
    inputs_BCL = torch.cat((run.chunks_BcL, torch.zeros(1, 1, LENGTH, dtype=torch.long)), dim=1)
    inputs_BCL[:, 2, 0] = run.next_Bt[:, 0]
    assert token_Bt == model(inputs_BCL)[:, 2, 0].argmax(-1)
    for place in range(1, LENGTH):
        inputs_BCL[:, 2, place] = token_Bt[:, 0]
        _, token_Bt = run._steps(token_Bt, state, 1)
    assert token_Bt == model(inputs_BCL)[:, 2, -1].argmax(-1)


def test_models_that_are_too_large_are_left_out(jobs_of: Jobs) -> None:
    """The weights of a full-context mixer grow with the square of its context; a memory model's do not."""
    limits = ("measurement.most_bytes=1000000", "measurement.contexts=[16,1024]")
    found = together(repetition(jobs_of("full_context,memory", "measurement.parts=[decode]", *limits)))
    contexts = {arm: {name.partition("/")[0] for name in quantities} for arm, quantities in found.items()}
    assert contexts == {"full_context": {"at_16"}, "memory": {"at_16", "at_1024"}}

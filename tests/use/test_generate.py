"""Generation: equal to the evaluation's free-running decoding, in batches as alone, from memories as from text."""

import pytest
import torch

from memlab.config.instantiate import build
from memlab.errors import UserError
from memlab.objectives import Layout, free_running
from memlab.use.generate import Chooser, Letters, Sampling
from memlab.use.text_model import TextModel
from tests.use.conftest import KINDS, Make

TEXT = "def function_7(self, value=7):\n    return self.items[0] + value * 7  # é\n" * 3
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_greedy_is_the_evaluations_free_running_decoding(make: Make, kind: str) -> None:
    """Chunk by chunk: the evaluation gives each chunk's first token, and the model all the others."""
    model = make(*KINDS[kind])
    objective = build(model.stage.objective, blank=model.codec.blank, delimiter=model.codec.delimiter)
    length, chunks = model.model.length, model.model.chunks
    window = torch.tensor(model.token_ids(TEXT))[: length * chunks]
    windows = window.view(2, -1)  # two windows
    table = objective.tables(windows, Layout(chunks, length))[-1]
    expected = free_running(model.model, table).generated_BT
    written = table.inputs_BCL.flatten(1).clone()
    generated = torch.full_like(written, -100)
    for start in range(table.scored.start * length, chunks * length, length):
        prompts = written[:, : start + 1].tolist()
        new = torch.tensor(model.generate_tokens(prompts, max_new_tokens=length - 1))
        generated[:, start + 1 : start + length] = written[:, start + 1 : start + length] = new
    assert torch.equal(generated, expected)
    assert len({*expected.flatten().tolist()}) > 3


@every_kind
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0, 0.9, seed=3)], ids=["greedy", "sampled"])
def test_a_batch_equals_its_rows_alone(make: Make, kind: str, sampling: Sampling) -> None:
    """Prompts of several lengths, inside a chunk, at its end, and longer than the context."""
    model = make(*KINDS[kind])
    ids = model.token_ids(TEXT)
    prompts = [ids[:3], ids[5:6], ids[:8], ids[2:19], ids[:60]]
    count = 2 * model.model.length + 3
    batch = model.generate_tokens(prompts, max_new_tokens=count, sampling=sampling)
    alone = [
        model.generate_tokens(
            [prompt], max_new_tokens=count, sampling=Sampling(sampling.temperature, sampling.top_p, sampling.seed + row)
        )[0]
        for row, prompt in enumerate(prompts)
    ]
    assert batch == alone
    assert all(len(row) == count for row in batch)


@pytest.mark.parametrize("kind", ["memory", "memory, transformer", "memory, variable slots", "two memories"])
def test_memories_stand_for_the_text_in_front_of_a_prompt(make: Make, kind: str) -> None:
    model = make(*KINDS[kind])
    ids, length = model.token_ids(TEXT), model.model.length
    front, prompt = ids[: 2 * length], ids[2 * length : 2 * length + 5]
    memories = model.encode(model.codec.decode(front))
    assert memories.tokens.flatten().tolist() == front
    with_memories = model.generate_tokens([prompt], memories=memories, max_new_tokens=20)
    assert with_memories == model.generate_tokens([front + prompt], max_new_tokens=20)
    assert with_memories != model.generate_tokens([prompt], max_new_tokens=20), "memories matter"


def test_each_prompt_may_have_memories_of_its_own(memory_model: TextModel) -> None:
    texts = [TEXT[:20], TEXT[40:70]]
    of_each = [memories[:count] for memories, count in zip(memory_model.encode(texts).by_text(), (1, 2), strict=True)]
    both = memory_model.generate(["    return", "    return"], memories=of_each, max_new_tokens=20)
    alone = [memory_model.generate("    return", memories=of_one, max_new_tokens=20) for of_one in of_each]
    assert both == alone and both[0] != both[1]


def test_the_text_arrives_in_pieces_that_add_up(memory_model: TextModel) -> None:
    pieces: list[str] = []
    text = memory_model.generate("def f", max_new_tokens=40, temperature=2.0, seed=5, stream=pieces.append)
    assert "".join(pieces) == text and len(pieces) > 5 and all(pieces)


def test_a_letter_of_several_tokens_arrives_whole(memory_model: TextModel) -> None:
    letters = Letters(memory_model.codec)
    ids = memory_model.token_ids("a€b")
    assert len(ids) == 5, "the euro sign is three tokens in this vocabulary"
    pieces = [letters.add(token) for token in ids]
    assert pieces == ["a", "", "", "€", "b"]
    assert letters.add(ids[1]) == "" and letters.rest() == "\ufffd"
    broken = Letters(memory_model.codec)
    assert [broken.add(token) for token in (ids[1], ids[1], ids[2], ids[3])] == ["", "\ufffd", "", "€"]


def test_top_p_and_temperature_choose_as_they_say() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()

    def drawn(**options: float) -> list[int]:
        choose = Chooser(Sampling(**options), [0])  # type: ignore[arg-type]
        return [choose(logits, [0])[0] for _ in range(2000)]

    assert {*drawn(temperature=0.0)} == {0}
    shares = [drawn(temperature=1.0).count(token) / 2000 for token in range(4)]
    assert shares == pytest.approx([0.5, 0.25, 0.15, 0.1], abs=0.04)
    nucleus = drawn(temperature=1.0, top_p=0.7)
    assert {*nucleus} == {0, 1} and nucleus.count(0) / 2000 == pytest.approx(2 / 3, abs=0.04)
    assert {*drawn(temperature=1.0, top_p=0.5)} == {0}
    hot = [drawn(temperature=100.0).count(token) / 2000 for token in range(4)]
    assert hot == pytest.approx([0.25] * 4, abs=0.04)


def test_a_seed_draws_the_same_again(memory_model: TextModel) -> None:
    draws = [memory_model.generate("def f", temperature=1.5, seed=seed, max_new_tokens=30) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
    ],
)
def test_options_that_make_no_sense_are_said(memory_model: TextModel, options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        memory_model.generate("def", **options)  # type: ignore[call-overload]


def test_prompts_and_memories_that_do_not_fit_are_said(memory_model: TextModel, autoencoder: TextModel) -> None:
    memories = memory_model.encode(TEXT)
    with pytest.raises(UserError, match=r"at most, not .*: choose some, such as memories\[-3:\]"):
        memory_model.generate("def", memories=memories)
    assert memory_model.generate("def", memories=memories[-3:], max_new_tokens=2)
    with pytest.raises(UserError, match="made by"):
        memory_model.generate("def", memories=autoencoder.encode("def f"))
    with pytest.raises(UserError, match="1 sets of memories for 2 prompts"):
        memory_model.generate(["a", "b"], memories=[memories[:1]])
    for prompt in ("", ["def", ""]):
        with pytest.raises(UserError, match="prompt is empty"):
            memory_model.generate(prompt)
    with pytest.raises(UserError, match="a single prompt"):
        memory_model.generate(["a"], stream=print)  # type: ignore[call-overload]
    for prompt in ([], [3], 3 * [None]):
        with pytest.raises(UserError, match="a text or a list of texts"):
            memory_model.generate(prompt)  # type: ignore[call-overload]
    with pytest.raises(UserError, match="surrogate"):
        memory_model.generate("\ud800")

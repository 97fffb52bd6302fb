"""Encode, decode, score, show what is retained, export: against the models' own passes and the evaluation."""

import math
from pathlib import Path

import pytest
import torch

import memlab
from memlab.config.instantiate import build
from memlab.data.module import HeldOutBatches, Windows
from memlab.errors import UserError
from memlab.measures import Score, Subject
from memlab.objectives import CausalLanguageModelling, Layout
from memlab.objectives.free_running import free_running
from memlab.use.hub import FILES
from memlab.use.text_model import BATCH, TextModel
from tests.use.conftest import KINDS, Make

TEXT = "def function_7(self, value=7):\n    return self.items[0] + value * 7  # é\n" * 3
every_kind = pytest.mark.parametrize("kind", KINDS)


def test_chunks_are_encoded_and_the_last_is_filled_with_blanks(memory_model: TextModel) -> None:
    length = memory_model.model.length
    ids = memory_model.token_ids(TEXT)[: 2 * length + 3]
    memories = memory_model.encode(memory_model.codec.decode(ids))
    last = ids[2 * length :] + [memory_model.codec.blank] * (length - 3)
    assert memories.tokens.tolist() == [ids[:length], ids[length : 2 * length], last]
    assert memories.counts == (length, length, 3) and memories.chunks == (3,)
    assert "".join(memories.texts) == memory_model.codec.decode(ids)
    expected = memory_model.model.make_memories(memories.tokens)
    torch.testing.assert_close(memories.vectors, expected)
    assert memories.floats == memory_model.model.memory_floats and memories.bits == 32 * memories.floats
    assert memories.made_by == memory_model.fingerprint


def test_floats_and_bits_are_what_must_be_stored(make: Make) -> None:
    quantised = make("objective=copy", "architecture.compression=4", "+channel@architecture.encoder.channel=quantise")
    bits = quantised.model.float_bits
    memories = quantised.encode("def f")
    assert bits < 32 and memories.floats == 32 // 4 and memories.bits == memories.floats * bits
    assert memories.vectors.shape[-1] == 32


def test_more_chunks_than_one_batch_are_encoded_alike(autoencoder: TextModel) -> None:
    text = TEXT * 12
    memories = autoencoder.encode(text)
    assert len(memories) > 2 * BATCH
    torch.testing.assert_close(memories.vectors, autoencoder.model.make_memories(memories.tokens))
    assert len(autoencoder.token_ids(text)) == sum(memories.counts)
    assert autoencoder.decode(memories) == [autoencoder.retention(text).returned]


def test_decoding_is_the_likeliest_token_at_each_real_place(autoencoder: TextModel) -> None:
    texts = [TEXT[:30], "", "é" * 5]
    memories = autoencoder.encode(texts)
    likeliest = autoencoder.model(memories.tokens[:, None]).argmax(-1)[:, 0].tolist()
    real = [ids[:count] for ids, count in zip(likeliest, memories.counts, strict=True)]
    first = memories.chunks[0]
    expected = [[i for ids in real[:first] for i in ids], [], [i for ids in real[first:] for i in ids]]
    assert autoencoder.decode(memories) == [autoencoder.codec.decode(ids) for ids in expected]


def test_retention_of_an_autoencoder_counts_real_tokens(autoencoder: TextModel) -> None:
    retention = autoencoder.retention(TEXT)
    memories = autoencoder.encode(TEXT)
    guessed = autoencoder.model(memories.tokens[:, None]).argmax(-1)[:, 0]
    real = memories.tokens != autoencoder.codec.blank
    assert retention.accuracy == ((guessed == memories.tokens) & real).sum().item() / real.sum().item()
    assert retention.text == TEXT and retention.returned == autoencoder.decode(memories)[0]
    assert {piece.mark for chunk in retention.chunks for piece in chunk} <= {"right", "wrong"}
    assert len(retention.chunks) == len(memories)


@pytest.mark.parametrize("objective", ["copy", "blank_copy", "combined", "copy objective.delimiter_tokens=true"])
def test_retention_of_a_copying_model_is_its_free_running_accuracy(make: Make, objective: str) -> None:
    model = make(*f"objective={objective}".split())
    layout = Layout(model.model.chunks, model.model.length)
    made = build(model.stage.objective, blank=model.codec.blank, delimiter=model.codec.delimiter)
    window = layout.chunks * layout.length // 2
    ids = model.token_ids(TEXT)
    assert len(ids) % window not in (0, 1), "the last window is filled with blanks"
    windows = torch.full((-(-len(ids) // window), window), model.codec.blank)
    windows.view(-1)[: len(ids)] = torch.tensor(ids)
    counts = free_running(model.model, made.tables(windows.repeat(1, made.window(layout) // window), layout)[-1])
    retention = model.retention(TEXT)
    assert retention.accuracy == counts.correct_R.sum().item() / counts.count_R.sum().item()
    assert retention.text == TEXT and len(retention.chunks) == -(-len(ids) // layout.length)
    assert all(chunk[0].mark == "given" for chunk in retention.chunks)


@every_kind
def test_nll_is_the_evaluations_loss(make: Make, kind: str) -> None:
    """Of texts as long as a window: decoding step by step is scoring by whole passes."""
    model = make(*KINDS[kind])
    layout = Layout(model.model.chunks, model.model.length)
    ids = model.token_ids(TEXT)
    size = layout.chunks * layout.length
    windows = torch.tensor([ids[:size], ids[7 : size + 7]])
    objective = CausalLanguageModelling(blank=model.codec.blank, delimiter=model.codec.delimiter)
    expected = objective.losses(model.model, windows, layout)[1]["clm"]
    texts = [model.codec.decode(row) for row in windows.tolist()]
    assert [model.token_ids(text) for text in texts] == windows.tolist()
    assert model.nll(texts) == pytest.approx(expected.loss_R.tolist(), rel=1e-5)
    labels = windows.view(2, layout.chunks, layout.length)[:, :, 1:]
    size = model.codec.token_bytes[labels.numpy()].sum()
    bits = expected.loss_R.double().sum().item() / math.log(2) / size
    assert model.bits_per_byte(texts) == pytest.approx(bits, rel=1e-5)


@every_kind
def test_texts_of_any_length_are_scored_together_as_alone(make: Make, kind: str) -> None:
    model = make(*KINDS[kind])
    texts = [TEXT, "d", "", TEXT[5:40], TEXT * 2]
    together = model.nll(texts)
    assert together == pytest.approx([model.nll(text)[0] for text in texts], rel=1e-5)
    assert together[1:3] == [0.0, 0.0] and together[4] > together[0]
    with pytest.raises(UserError, match="no token is scored"):
        model.bits_per_byte(["d", ""])


def test_bits_per_byte_are_those_of_the_score_of_a_held_out_text(make: Make) -> None:
    """Window by window, as `memlab.run` reports them."""
    model = make("objective=clm")
    layout = Layout(model.model.chunks, model.model.length)
    objective = build(model.stage.objective, blank=model.codec.blank, delimiter=model.codec.delimiter)
    held_out = Windows.of(model.codec, "val", objective.window(layout))  # type: ignore[arg-type]
    batches = HeldOutBatches(held_out, 4, 4)
    subject = Subject(model.model, objective, layout, model.codec, 4, torch.device("cpu"))  # type: ignore[arg-type]
    reported = Score(windows=4)(subject).metrics["clm"]["bits_per_byte"]
    texts = [model.codec.decode(ids) for ids in batches[0].tolist()]
    assert [model.token_ids(text) for text in texts] == batches[0].tolist(), "text is cut into the same tokens again"
    assert model.bits_per_byte(texts) == pytest.approx(reported, rel=1e-5)


@every_kind
def test_an_exported_model_is_the_same_bit_for_bit(make: Make, kind: str, tmp_path: Path) -> None:
    model = make(*KINDS[kind])
    model.save_pretrained(tmp_path / "export")
    loaded = memlab.load(tmp_path / "export")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {*FILES}
    assert loaded.config == model.config and loaded.fingerprint == model.fingerprint and loaded.stage == model.stage
    assert loaded.nll(TEXT) == model.nll(TEXT)
    drawn = [m.generate("def", temperature=1.0, top_p=0.9, max_new_tokens=30) for m in (model, loaded)]
    assert drawn[0] == drawn[1]
    if model.model.encoder is not None:
        assert torch.equal(loaded.encode(TEXT).vectors, model.encode(TEXT).vectors)
        memories = model.encode(TEXT)[:2]
        assert loaded.generate("def", memories=memories) == model.generate("def", memories=memories)
    loaded.save_pretrained(tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "export" / name).read_bytes()


def test_what_a_model_cannot_do_is_said(make: Make, autoencoder: TextModel, memory_model: TextModel) -> None:
    full, recurrent = make(*KINDS["full context"]), make(*KINDS["recurrent"])
    oracle = make("objective=clm", "model@curriculum.stages.main.model=oracle")
    encoder = make("encoder=frozen_autoencoder_retrieval", "objective=copy", stage=1)
    memories = autoencoder.encode(TEXT)
    for model in (full, recurrent, make(*KINDS["no memory"])):
        with pytest.raises(UserError, match="has no encoder"):
            model.encode(TEXT)
    for model in (full, recurrent, memory_model, encoder, oracle):
        with pytest.raises(UserError, match="does not regenerate text from memories alone"):
            model.decode(memories)
    for model in (autoencoder, encoder):
        assert len(model.encode(TEXT)) == len(memories)
        for act in (model.generate, model.nll, model.bits_per_byte):
            with pytest.raises(UserError, match="does not predict next tokens"):
                act(TEXT)
    for act in (oracle.generate, oracle.nll, oracle.bits_per_byte, oracle.retention):
        with pytest.raises(UserError, match="must be told the memories of the very text"):
            act(TEXT)
    with pytest.raises(UserError, match="trained on clm, which gives no text back"):
        make("objective=clm").retention(TEXT)
    with pytest.raises(UserError, match="made by"):
        make("encoder=frozen_autoencoder", "objective=copy", "seed=7", stage=0).decode(memories)
    for empty in ("", [""]):
        with pytest.raises(UserError, match="no text to encode"):
            autoencoder.encode(empty)


def test_the_callers_random_numbers_and_gradients_are_left_alone(memory_model: TextModel) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    memory_model.generate("def", temperature=1.0)
    memory_model.nll(TEXT)
    assert torch.equal(torch.rand(1), expected) and torch.is_grad_enabled()
    assert not memory_model.encode(TEXT).vectors.requires_grad

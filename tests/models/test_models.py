"""What causal LM and autoencoder see; what every model says of itself; every model on the meta device."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from memlab.models import LanguageModel, StackDecoder, StackEncoder
from tests import tiny

INPUTS = torch.randint(tiny.VOCAB, (3, tiny.CHUNKS, tiny.LENGTH), generator=torch.Generator().manual_seed(0))
BUILDERS: list[Callable[[str], LanguageModel]] = [tiny.causal_lm, tiny.autoencoder, tiny.memory_model, tiny.recurrent]
every_kind = pytest.mark.parametrize("kind", tiny.STACKS)
every_builder = pytest.mark.parametrize("build", BUILDERS)


@every_kind
@torch.no_grad()
def test_causal_lm_sees_no_later_token(kind: str) -> None:
    model = tiny.causal_lm(kind).double()
    logits = model(INPUTS).flatten(1, 2)
    for t in range(tiny.CHUNKS * tiny.LENGTH - 1):
        changed = INPUTS.flatten(1).clone()
        changed[:, t + 1 :] = (changed[:, t + 1 :] + 1) % tiny.VOCAB
        again = model(changed.view(INPUTS.shape)).flatten(1, 2)
        torch.testing.assert_close(again[:, : t + 1], logits[:, : t + 1])
        assert not torch.allclose(again[:, t + 1], logits[:, t + 1], rtol=0, atol=1e-9)


@every_kind
@torch.no_grad()
def test_causal_lm_reads_earlier_chunks(kind: str) -> None:
    model = tiny.causal_lm(kind).double()
    changed = INPUTS.clone()
    changed[:, 0] = (changed[:, 0] + 1) % tiny.VOCAB
    assert not torch.allclose(model(changed, range(3, 4)), model(INPUTS, range(3, 4)), rtol=0, atol=1e-9)


@every_kind
@torch.no_grad()
def test_an_encoder_takes_table_and_stack_of_a_causal_lm(kind: str) -> None:
    """And then makes its memories of what the head would have read at the last position."""
    model = tiny.causal_lm(kind, chunks=1)
    encoder = tiny.encoder(kind)(vocab=tiny.VOCAB, length=tiny.LENGTH)
    weights = model.decoder.state_dict()
    encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
    torch.testing.assert_close(encoder(INPUTS[:, 0])[:, 0], model.hidden(INPUTS[:, :1], range(1))[:, 0, -1])


@every_kind
@torch.no_grad()
def test_autoencoder_treats_chunks_alone(kind: str) -> None:
    model = tiny.autoencoder(kind)
    together = model(INPUTS)
    for chunk in range(tiny.CHUNKS):
        torch.testing.assert_close(model(INPUTS[:, chunk : chunk + 1])[:, 0], together[:, chunk])


@every_kind
@pytest.mark.parametrize("repeat", [False, True])
@torch.no_grad()
def test_autoencoder_decodes_from_the_memories_alone(kind: str, repeat: bool) -> None:
    """With several memories: the logits follow from encoder, bridge and decoder, without a look at the tokens."""
    model = tiny.autoencoder(kind, memories=2, repeat=repeat)
    memories = model.encoder(INPUTS[:, 0])
    expected = model.decoder.head(model.decoder.stack(model.bridge(memories)))
    torch.testing.assert_close(model(INPUTS[:, :1])[:, 0], expected)
    torch.testing.assert_close(model.head(model.decode(model.make_memories(INPUTS[:, 0]))), expected)
    assert not [name for name, _ in model.named_parameters() if name.startswith("decoder.embedding")]


@torch.no_grad()
def test_an_autoencoder_projects_the_memories_of_an_encoder_of_another_width() -> None:
    model = tiny.autoencoder("mixer", width=8)
    memories = model.encoder(INPUTS[:, 0])
    assert memories.shape[2] == model.memory_floats == 8
    expected = model.head(model.decode(model.projection(memories)))
    torch.testing.assert_close(model(INPUTS[:, :1])[:, 0], expected)
    assert not list(tiny.autoencoder("mixer").projection.parameters())


@pytest.mark.parametrize("build", [tiny.causal_lm, tiny.autoencoder])
def test_chunks_of_another_length_are_refused(build: Callable[[str], LanguageModel]) -> None:
    with pytest.raises(ValueError, match="5 tokens; the model was built for"):
        build("transformer")(INPUTS[:, :, :5])


@every_kind
@every_builder
@torch.no_grad()
def test_scored_chunks_are_a_selection_of_all(build: Callable[[str], LanguageModel], kind: str) -> None:
    model = build(kind)
    torch.testing.assert_close(model(INPUTS, range(1, 3)), model(INPUTS)[:, 1:3])


@every_kind
@every_builder
def test_model_builds_and_runs_on_meta(build: Callable[[str], LanguageModel], kind: str) -> None:
    with torch.device("meta"):
        model = build(kind)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert model(INPUTS.to("meta")).shape == (*INPUTS.shape, tiny.VOCAB)


@pytest.mark.parametrize(("kind", "std"), [("transformer", 0.02), ("mixer", 1 / (3 * tiny.WIDTH) ** 0.5)])
def test_head_follows_its_stack_and_has_no_bias(kind: str, std: float) -> None:
    torch.manual_seed(0)
    head = tiny.decoder(kind)(vocab=2000, length=tiny.LENGTH).head
    assert head.bias is None
    assert head.weight.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("std", [0.02, 1.0])
def test_token_vectors_have_the_std_that_is_asked_for(std: float) -> None:
    torch.manual_seed(0)
    decoder = tiny.decoder("transformer", embedding_std=std)(vocab=2000, length=tiny.LENGTH)
    assert decoder.embed(torch.arange(2000)).std().item() == pytest.approx(std, rel=0.05)


SAYS: list[tuple[LanguageModel, dict[str, Any]]] = [
    (tiny.causal_lm("mixer"), {"can": {"predict"}, "chunks": 4, "memories": 0, "memory_floats": 0}),
    (tiny.causal_lm("mixer", chunks=1), {"can": {"predict"}, "chunks": 1}),
    (
        tiny.memory_model("mixer", memories=2, encoder_width=8),
        {"can": {"predict"}, "chunks": 4, "memories": 2, "memory_floats": 16},
    ),
    (tiny.memory_model("mixer", compression=4), {"memories": 1, "memory_floats": 4}),
    (tiny.memory_model("mixer", with_encoder=False), {"can": {"predict"}, "memory_floats": 0}),
    (tiny.recurrent("mixer"), {"can": {"predict"}, "chunks": 4, "memories": 1, "memory_floats": 16}),
    (
        tiny.autoencoder("mixer", memories=2),
        {"can": {"regenerate"}, "chunks": 1, "memories": 2, "memory_floats": 32},
    ),
    (tiny.chunk_encoder("mixer"), {"can": {"retrieve"}, "chunks": 1, "memories": 1, "memory_floats": 16}),
]


@pytest.mark.parametrize(("model", "says"), SAYS, ids=lambda value: type(value).__name__)
def test_a_model_says_what_it_can_and_what_it_stores(model: LanguageModel, says: dict[str, Any]) -> None:
    assert {key: getattr(model, key) for key in says} == says
    assert (model.vocab, model.length) == (tiny.VOCAB, tiny.LENGTH)


@pytest.mark.parametrize("scored", [range(4), range(2, 4), range(1), range(2, 3)])
def test_memory_models_read_the_chunks_before_the_last_scored(scored: range) -> None:
    assert tiny.memory_model("mixer").reads(scored) == range(scored.stop - 1)
    for model in (tiny.memory_model("mixer", with_encoder=False), tiny.causal_lm("mixer"), tiny.recurrent("mixer")):
        assert model.reads(scored) == range(0)


def test_freezing_goes_to_the_encoder_alone() -> None:
    model = tiny.memory_model("mixer", encoder_width=8)
    model.freeze_encoder("blocks")
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if name.startswith("encoder.stack.")} != set()
    tiny.recurrent("mixer").freeze_encoder(False)
    with pytest.raises(ValueError, match="RecurrentMemoryModel has no encoder"):
        tiny.recurrent("mixer").freeze_encoder(True)


class BorrowedEncoder(StackEncoder):
    borrowed = frozenset({"stack.blocks.0.mixer.weight_HKLL", "embedding.weight"})


def test_borrowed_weights_are_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tiny.memory_model("mixer")
    assert plain.saved_names() == set(plain.state_dict())
    monkeypatch.setattr(tiny, "StackEncoder", BorrowedEncoder)
    model = tiny.memory_model("mixer")
    missing = set(model.state_dict()) - model.saved_names()
    assert missing == {"encoder.stack.blocks.0.mixer.weight_HKLL", "encoder.embedding.weight"}
    monkeypatch.setattr(StackDecoder, "borrowed", frozenset({"head.weight"}))
    assert set(model.state_dict()) - model.saved_names() == missing | {"decoder.head.weight"}


def test_state_dicts_have_the_promised_names() -> None:
    def parts(model: LanguageModel) -> set[str]:
        return {".".join(name.split(".")[: 1 + name.startswith(("encoder", "decoder"))]) for name in model.state_dict()}

    of_decoder = {"decoder.embedding", "decoder.stack", "decoder.head"}
    of_encoder = {"encoder.embedding", "encoder.stack"}
    assert parts(tiny.causal_lm("mixer")) == of_decoder
    assert parts(tiny.recurrent("mixer")) == of_decoder | {"first_memory"}
    assert parts(tiny.autoencoder("mixer", compression=2)) == of_encoder | {
        "encoder.compression",
        "bridge",
        "decoder.stack",
        "decoder.head",
    }
    assert parts(tiny.memory_model("mixer", encoder_width=8)) == of_encoder | of_decoder | {"projection"}
    assert parts(tiny.chunk_encoder("mixer")) == of_encoder


def test_a_model_without_head_says_so() -> None:
    with pytest.raises(AssertionError, match="ChunkEncoder has no head"):
        _ = tiny.chunk_encoder("mixer").head


@torch.no_grad()
def test_memories_of_a_chunk_encoder_are_its_encoders() -> None:
    model = tiny.chunk_encoder("transformer", memories=2)
    memories: Tensor = model.make_memories(INPUTS[:, 0])
    assert torch.equal(memories, model.encoder(INPUTS[:, 0])) and memories.shape == (3, 2, tiny.WIDTH)


def test_models_import_torch_and_errors_alone() -> None:
    code = "import sys, memlab.models; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"lightning", "hydra", "omegaconf", "datasets", "wandb", "rich"} & set(loaded)
    assert {".".join(name.split(".")[:2]) for name in loaded if name.split(".")[0] == "memlab"} == {
        "memlab",
        "memlab.errors",
        "memlab.models",
    }


@every_kind
def test_a_stack_compiles_to_one_graph(kind: str) -> None:
    """torch.compile finds nothing that it would have to leave to Python; the last position alone is a graph, too."""
    stack = tiny.stack(kind)(tiny.LENGTH)
    compiled = torch.compile(stack, backend="eager", fullgraph=True)
    x = torch.randn(2, tiny.LENGTH, tiny.WIDTH)
    for places in ((0, None), (tiny.LENGTH - 1, tiny.LENGTH)):
        torch.testing.assert_close(compiled(x, *places), stack(x, *places))

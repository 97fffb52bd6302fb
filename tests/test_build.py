from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from memlab.build import build_model, build_stage, load_weights
from memlab.plan import Stage
from tests.tiny import LENGTH, VOCAB, WIDTH

MIXER = {"_target_": "memlab.models.mixer.MixerStack", "width": WIDTH, "layers": 2, "heads": 2, "taps": 1}
MEMORY: dict[str, Any] = {
    "kind": "memory",
    "chunks": 4,
    "chunk_length": LENGTH,
    "encoder": MIXER,
    "decoder": {**MIXER, "heads": 0},
    "memories": 1,
    "compression": 1,
    "slots": "fixed",
    "fill": 0.0,
    "skip": 0,
    "embedding_std": 0.02,
}
AUTOENCODER: dict[str, Any] = {
    "kind": "autoencoder",
    "chunk_length": LENGTH,
    "encoder": MIXER,
    "memories": 1,
    "compression": 1,
    "bridge": "unroll",
    "embedding_std": 0.02,
}


def test_an_encoder_is_taken_whole_from_an_autoencoder(tmp_path: Path) -> None:
    autoencoder, memory = build_model(AUTOENCODER, VOCAB), build_model(MEMORY, VOCAB)
    head = memory.head.weight.clone()
    save_file(autoencoder.state_dict(), tmp_path / "model.safetensors")
    load_weights(memory, tmp_path / "model.safetensors", "encoder")
    assert memory.encoder is not None and autoencoder.encoder is not None
    theirs = autoencoder.encoder.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in memory.encoder.state_dict().items())
    assert torch.equal(memory.head.weight, head), "only the encoder is taken"


def test_weights_that_do_not_fit_are_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    narrow = {**AUTOENCODER, "encoder": {**MIXER, "width": WIDTH // 2}}
    save_file(build_model(narrow, VOCAB).state_dict(), path)
    with pytest.raises(ValueError, match="do not fit this config"):
        load_weights(build_model(MEMORY, VOCAB), path, "encoder")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot read"):
        load_weights(build_model(MEMORY, VOCAB), path, "encoder")


def test_a_stage_is_built_from_its_seed() -> None:
    stages = [
        Stage(
            "main", MEMORY, {"_target_": "memlab.objectives.copy.Copy"}, {"vocab": VOCAB}, {"seed": seed}, None, False
        )
        for seed in (0, 0, 1)
    ]
    one, two, three = (build_stage(stage)[0].head.weight for stage in stages)
    assert torch.equal(one, two) and not torch.equal(one, three)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"_target_": "memlab.models.mixer.NoStack"}, "cannot be imported"),
        ({"_target_": "no_such_module.Stack"}, "cannot be imported"),
        ({**MIXER, "colour": "red"}, "does not take these keys"),
    ],
)
def test_a_wrong_target_is_a_clear_error(target: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model({**MEMORY, "decoder": target}, VOCAB)

"""A run folder is all that a finished model needs; nothing in somebody else's folder is executed."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import memlab
from memlab.config.stage import Stage
from memlab.errors import UserError
from memlab.storage.run_folder import RunFolder
from memlab.training.build import build_stage, load_weights
from memlab.use.trusted import require_trusted

TEXT = "def function_7(self, value=7):\n    return self.items[0] + value * 7  # é\n" * 2
USES = """
import json, sys
import memlab
assert not {"torch", "numpy", "tokenizers"} & {*sys.modules}, "importing memlab is quick"
model = memlab.load(sys.argv[1])
memories = model.encode(sys.argv[2])
written = model.generate("def", memories=memories[:2], max_new_tokens=20)
print(json.dumps({
    "heavy": sorted({"hydra", "omegaconf", "lightning", "torchmetrics", "datasets", "wandb", "scipy"} & {*sys.modules}),
    "sum": memories.vectors.double().abs().sum().item(), "written": written, "nll": model.nll(sys.argv[2]),
    "retention": model.retention(sys.argv[2]).accuracy,
}))
"""


def test_a_copied_folder_needs_neither_its_corpus_nor_hydra(
    folder: Path, trained: list[Path], environment: dict[str, str]
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", USES, str(folder), TEXT],
        env=environment, cwd=os.sep, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["heavy"] == []
    model = memlab.load(trained[1])
    memories = model.encode(TEXT)
    assert found["sum"] == pytest.approx(memories.vectors.double().abs().sum().item(), rel=1e-6)
    assert found["written"] == model.generate("def", memories=memories[:2], max_new_tokens=20)
    assert found["nll"] == pytest.approx(model.nll(TEXT), rel=1e-6)
    assert found["retention"] == model.retention(TEXT).accuracy


@pytest.mark.parametrize("number", [0, 1])
@torch.no_grad()
def test_every_stage_of_a_chain_is_loaded_as_it_was_trained(trained: list[Path], number: int) -> None:
    run = RunFolder.open(trained[number])
    stage = Stage.read(run)
    expected, _ = build_stage(stage)
    load_weights(expected, run.weights)
    model = memlab.load(str(trained[number]))
    assert model.stage == stage and model.fingerprint == stage.fingerprint == run.fingerprint
    assert not model.model.training and not any(p.requires_grad for p in model.model.parameters())
    tokens = torch.tensor(model.token_ids(TEXT)[:32]).view(1, -1, 8)[:, : model.model.chunks]
    assert torch.equal(model.model(tokens), expected.eval()(tokens))
    assert stage.name in repr(model) and "on cpu" in repr(model)


class Executed:
    """An object whose unpickling leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config["stage"])
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def special(folder: Path, **values: object) -> None:
    path = folder / "special_tokens.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


HOSTILE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "weights are a pickle": (
        lambda folder, mark: (folder / "model.safetensors").write_bytes(pickle.dumps(Executed(mark))),
        "holds no weights in the safetensors format",
    ),
    "weights are torch's": (
        lambda folder, mark: torch.save(Executed(mark), folder / "model.safetensors"),
        "holds no weights in the safetensors format",
    ),
    "token bytes are a pickle": (
        lambda folder, mark: numpy.save(folder / "token_bytes.npy", numpy.array([Executed(mark)]), allow_pickle=True),
        "tokenizer of .* cannot be read",
    ),
    "config is a pickle": (
        lambda folder, mark: (folder / "config.yaml").write_bytes(pickle.dumps(Executed(mark))),
        "config.yaml cannot be read",
    ),
    "config has a tag of Python": (
        lambda folder, mark: (folder / "config.yaml").write_text(f"stage: !!python/object/apply:os.mkdir ['{mark}']"),
        "config.yaml cannot be read",
    ),
    "another class": (
        lambda folder, mark: change_config(
            folder, lambda s: s.update(model={"_target_": "os.mkdir", "path": str(mark)})
        ),
        "names os.mkdir, which is no model or objective of memlab's: nothing of the folder was used",
    ),
    "another class, deep inside": (
        lambda folder, mark: change_config(
            folder, lambda s: s["model"]["decoder"].update(stack=[{"x": {"_target_": "os.mkdir", "path": str(mark)}}])
        ),
        "names os.mkdir, which is no",
    ),
    "a function of memlab's": (
        lambda folder, mark: change_config(
            folder, lambda s: s.update(model={"_target_": "memlab.storage.files.write_json", "path": str(mark)})
        ),
        "names memlab.storage.files.write_json",
    ),
    "no model": (
        lambda folder, mark: change_config(folder, lambda s: s.update(model={"_target_": "torch.nn.Identity"})),
        "its config names no model",
    ),
    "a model that is text": (lambda folder, mark: change_config(folder, lambda s: s.update(model="x")), "no model"),
    "unknown key": (lambda folder, mark: change_config(folder, lambda s: s["model"].update(x=1)), "does not take x"),
    "no stage of this version": (
        lambda folder, mark: change_config(folder, lambda s: s.pop("place")),
        "another version of memlab",
    ),
    "another size": (
        lambda folder, mark: change_config(folder, lambda s: s["model"].update(length=9)),
        "do not fit the config beside them: .* not .* more$",
    ),
    "an absurd size": (
        lambda folder, mark: change_config(folder, lambda s: s["model"].update(chunks=10**9)),
        "do not fit the config beside them",
    ),
    "other shapes": (
        lambda folder, mark: change_weights(folder, lambda w: w.update({"decoder.head.weight": torch.zeros(2, 3)})),
        r"decoder.head.weight is \(2, 3\), not \(300, 32\)$",
    ),
    "a weight too few": (
        lambda folder, mark: change_weights(folder, lambda w: w.pop("decoder.head.weight")),
        "decoder.head.weight is missing$",
    ),
    "a weight too many": (
        lambda folder, mark: change_weights(folder, lambda w: w.update(x=torch.zeros(1))),
        "x is unknown$",
    ),
    "tokenizer is no JSON": (
        lambda folder, mark: (folder / "tokenizer.json").write_text("no"),
        "tokenizer of .* cannot be read",
    ),
    "tokenizer is other JSON": (
        lambda folder, mark: (folder / "tokenizer.json").write_text("[1]"),
        "tokenizer of .* cannot be read",
    ),
    "special tokens are no JSON": (
        lambda folder, mark: (folder / "special_tokens.json").write_text("{"),
        "tokenizer of .* cannot be read: its JSON is damaged",
    ),
    "special tokens are another kind": (lambda folder, mark: special(folder, blank="x"), "tokenizer of .* cannot be"),
    "special tokens outside": (lambda folder, mark: special(folder, blank=300), "do not belong together"),
    "another vocabulary": (lambda folder, mark: special(folder, vocab=299), "do not belong together"),
    "finished is no JSON": (
        lambda folder, mark: (folder / "finished.json").write_text("{"),
        "finished.json cannot be read",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_folder_executes_nothing_and_is_said_in_one_line(folder: Path, tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "executed"
    damage, message = HOSTILE[kind]
    damage(folder, mark)
    with pytest.raises(UserError, match=message) as error:
        memlab.load(folder)
    assert not mark.exists()
    assert "\n" not in str(error.value)


def test_pickles_beside_the_files_are_not_read(folder: Path, tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "model.pkl", "checkpoints/step-00000002.ckpt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(pickle.dumps(Executed(tmp_path / "executed")))
    assert memlab.load(folder).generate("def", max_new_tokens=2)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "damage",
    ["none of it", "config.yaml", "model.safetensors", "tokenizer.json", "token_bytes.npy", "finished.json"],
)
def test_a_folder_that_is_not_whole_is_said(folder: Path, tmp_path: Path, damage: str) -> None:
    if damage == "none of it":
        folder = tmp_path / "nothing"
    else:
        (folder / damage).unlink()
    with pytest.raises(UserError) as error:
        memlab.load(folder)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("content", ["", "[]", "stage: 3", "stage: {name: main}", "stage: {"])
def test_a_damaged_config_is_said(folder: Path, content: str) -> None:
    (folder / "config.yaml").write_text(content)
    with pytest.raises(UserError, match="train that stage again"):
        memlab.load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "not the config of a memlab model"),
        ('{"model_type": "llama"}', "not the config of a memlab model"),
        ('{"format": 99, "fingerprint": "0", "stage": {}}', "another version"),
    ],
)
def test_a_damaged_export_is_said(folder: Path, tmp_path: Path, content: str, message: str) -> None:
    memlab.load(folder).save_pretrained(tmp_path / "export")
    (tmp_path / "export" / "config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        memlab.load(tmp_path / "export")


def test_a_run_folder_is_not_exported_over(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(UserError, match="is a run folder"):
        memlab.load(folder).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_model_of_ones_own_is_built_where_it_is_trusted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "somebodys_lab.py").write_text("from memlab.models import MemoryModel\nclass Mine(MemoryModel): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    change_config(folder, lambda stage: stage["model"].update(_target_="somebodys_lab.Mine"))
    with pytest.raises(UserError, match=r"trust=\['somebodys_lab'\]"):
        memlab.load(folder)
    assert "somebodys_lab" not in sys.modules
    assert type(memlab.load(folder, trust=["somebodys_lab"]).model).__name__ == "Mine"


@pytest.mark.parametrize(
    "name",
    ["torch.nn.Linear.forward", "torch.nn.functional.relu", "torch.nn.init", "torch.load", 3, None, "memlab.load"],
)
def test_only_modules_of_torch_are_trusted(name: object) -> None:
    require_trusted({"a": [{"_target_": "torch.nn.LayerNorm"}]}, (), "here")
    with pytest.raises(UserError, match="here names"):
        require_trusted({"a": [{"_target_": name}]}, (), "here")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_said(trained: list[Path], device: str) -> None:
    with pytest.raises(UserError, match=r"device=.* cannot be used"):
        memlab.load(trained[1], device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_what_the_cpu_computes(trained: list[Path]) -> None:
    for path in trained:
        cpu, gpu = memlab.load(path), memlab.load(path, device="cuda")
        torch.testing.assert_close(gpu.encode(TEXT).vectors, cpu.encode(TEXT).vectors, rtol=1e-3, atol=1e-3)
    memories = cpu.encode(TEXT)[:2]
    assert gpu.generate("def", memories=memories) == cpu.generate("def", memories=memories)
    assert gpu.nll(TEXT) == pytest.approx(cpu.nll(TEXT), rel=1e-3)
    assert gpu.retention(TEXT).accuracy == pytest.approx(cpu.retention(TEXT).accuracy, abs=0.05)


def test_memlab_has_no_other_late_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        memlab.laod  # noqa: B018

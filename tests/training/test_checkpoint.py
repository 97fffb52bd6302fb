import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from memlab.errors import explain
from memlab.storage.files import write_atomic
from memlab.storage.run_folder import RunFolder
from memlab.training.checkpoint import SealedCheckpointIO, newest_checkpoint
from memlab.training.sharded import ShardedStrategy


def folder_with(tmp_path: Path, *steps: int) -> RunFolder:
    folder = RunFolder(tmp_path, "main", "0" * 12)
    for step in steps:
        SealedCheckpointIO().save_checkpoint({"step": step}, folder.checkpoints / f"step-{step:09}.ckpt")
    return folder


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    SealedCheckpointIO().save_checkpoint({"weight": torch.arange(3), "loops": {"step": 7}}, path)
    loaded = SealedCheckpointIO().load_checkpoint(path)
    assert loaded["loops"] == {"step": 7} and torch.equal(loaded["weight"], torch.arange(3))


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_damage_is_seen_and_the_one_before_is_taken(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_with(tmp_path, 10, 20)
    newest = folder.checkpoint_files()[0]
    content = bytearray(newest.read_bytes())
    content[100] ^= 1
    newest.write_bytes({"truncated": content[:-1], "one bit": content, "empty": b""}[damage])
    found = newest_checkpoint(folder)
    assert found is not None and found[1] == 10
    assert "step-000000020.ckpt is damaged: falling back" in capsys.readouterr().out


def test_without_a_whole_checkpoint_training_starts_anew(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 10)
    folder.checkpoint_files()[0].write_bytes(b"half")
    assert newest_checkpoint(folder) is None
    assert newest_checkpoint(RunFolder(tmp_path, "other", "1" * 12)) is None


@pytest.mark.parametrize(
    "name", ["step-10 (copy).ckpt", "notes.txt", "last.ckpt", "step-.ckpt", "step-000000099.ckpt.part"]
)
def test_a_stray_file_is_left_alone_and_named(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_with(tmp_path, 10)
    (folder.checkpoints / name).write_bytes(b"mine")
    found = newest_checkpoint(folder)
    assert found is not None and found[1] == 10
    output = " ".join(capsys.readouterr().out.split())
    assert "warning" in output and name in output
    folder.remove_checkpoints()
    assert [path.name for path in folder.checkpoints.iterdir()] == [name]


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch hacked",)


def test_a_hostile_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib
    import pickle

    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save({"weights": Hostile()}, buffer)
    content = buffer.getvalue()
    Path("hostile.ckpt").write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(pickle.UnpicklingError):
        SealedCheckpointIO().load_checkpoint("hostile.ckpt")
    sharded = ShardedStrategy(checkpoint_io=SealedCheckpointIO())
    with pytest.raises(pickle.UnpicklingError):
        sharded.load_checkpoint("hostile.ckpt")
    assert not Path("hacked").exists()


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ckpt"
    SealedCheckpointIO().save_checkpoint({"step": 1}, path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as error:
        SealedCheckpointIO().save_checkpoint({"step": 2}, path)
    assert "the disk is full" in (explain(error.value) or "")
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_write_atomic_is_readable_by_others(tmp_path: Path) -> None:
    write_atomic(tmp_path / "deep" / "file", b"content")
    assert (tmp_path / "deep" / "file").stat().st_mode & 0o777 == 0o644

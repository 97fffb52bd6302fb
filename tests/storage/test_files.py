"""Files are written whole or not at all, streamed and sealed."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from memlab.errors import explain
from memlab.storage.files import is_whole, replacing, sealed_reader, sealed_writer, write_atomic

CONTENT = bytes(range(256)) * 40


def seal(path: Path, content: bytes = CONTENT) -> None:
    with sealed_writer(path) as file:
        for start in range(0, len(content), 1000):
            file.write(memoryview(content)[start : start + 1000])


def test_a_sealed_file_comes_back(tmp_path: Path) -> None:
    seal(tmp_path / "file")
    assert is_whole(tmp_path / "file")
    with sealed_reader(tmp_path / "file") as file:
        assert file.read() == CONTENT
        assert file.seek(-10, os.SEEK_END) == len(CONTENT) - 10 and file.read(100) == CONTENT[-10:]
        assert file.seek(5) == 5 and file.read(3) == CONTENT[5:8] and file.tell() == 8


@pytest.mark.parametrize("place", [0, 5000, len(CONTENT) - 1, len(CONTENT), -1])
def test_one_changed_bit_is_seen(tmp_path: Path, place: int) -> None:
    seal(tmp_path / "file")
    content = bytearray((tmp_path / "file").read_bytes())
    content[place] ^= 1
    (tmp_path / "file").write_bytes(content)
    assert not is_whole(tmp_path / "file")


@pytest.mark.parametrize("length", [0, 7, 32, len(CONTENT), len(CONTENT) + 31])
def test_a_file_that_was_cut_off_is_seen(tmp_path: Path, length: int) -> None:
    seal(tmp_path / "file")
    os.truncate(tmp_path / "file", length)
    assert not is_whole(tmp_path / "file")


def test_the_file_and_then_its_name_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut right after the write leaves the new file: its content is on the disk first, its name second."""
    events = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(handle: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"{os.fstat(handle).st_size} bytes")
        fsync(handle)

    def record_replace(source: str, target: str) -> None:
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    seal(tmp_path / "file")
    assert events == [f"{len(CONTENT) + 32} bytes", "rename", "folder"]


def test_a_file_system_that_cannot_flush_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    write_atomic(tmp_path / "file", CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seal(tmp_path / "file", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as error:
        seal(tmp_path / "file")
    assert "the disk is full" in (explain(error.value) or "")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with sealed_reader(tmp_path / "file") as file:
        assert file.read() == b"old"


def test_an_error_of_the_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    seal(tmp_path / "file", b"old")
    before = (tmp_path / "file").read_bytes()
    with pytest.raises(KeyError), sealed_writer(tmp_path / "file") as file:
        file.write(b"half")
        raise KeyError
    assert (tmp_path / "file").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_others_can_read_it_and_its_folder_is_made(tmp_path: Path) -> None:
    with replacing(tmp_path / "deep" / "file") as temporary:
        temporary.write_bytes(CONTENT)
    assert (tmp_path / "deep" / "file").stat().st_mode & 0o777 == 0o644


# The kernel refuses to let a file grow beyond a limit, wherever in it torch or the seal writes: every write may fail.
LIMITED = """
import os, resource, sys
from pathlib import Path
import torch
from memlab.training.checkpoint import SealedCheckpointIO
folder, io = Path(sys.argv[1]), SealedCheckpointIO()
checkpoint = {"weights": torch.arange(30_000), "moments": {"weights": torch.ones(30_000)}, "step": 3}
io.save_checkpoint(checkpoint, folder / "whole")
size, unlimited = (folder / "whole").stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in (0, 1, 1000, 100_000, 240_500, 300_000, size - 1000, size - 33, size - 32, size - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
    try:
        io.save_checkpoint(checkpoint, folder / "limited")
        raise AssertionError(f"{limit} of {size} bytes were enough")
    except OSError as error:
        assert os.strerror(error.errno) == "File too large", error
    assert [path.name for path in folder.iterdir()] == ["whole"], limit
resource.setrlimit(resource.RLIMIT_FSIZE, (size, unlimited[1]))
io.save_checkpoint(checkpoint, folder / "limited")
assert (folder / "limited").read_bytes() == (folder / "whole").read_bytes()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count files otherwise")
def test_any_write_of_a_checkpoint_may_fail(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


# Peak memory of a process that saves a checkpoint of 192 MiB, frees it, and loads it again, in MiB.
PEAK = """
import re, sys
from pathlib import Path
import torch
from memlab.training.checkpoint import SealedCheckpointIO
def peak():  # since the last call; ru_maxrss would begin with the peak of the process that started this one
    found = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())
    Path("/proc/self/clear_refs").write_text("5")
    return int(found[1]) // 1024
path, io = Path(sys.argv[1]), SealedCheckpointIO()
io.save_checkpoint({"weights": torch.ones(1000)}, path)
io.load_checkpoint(path)  # what torch imports on the way
peak()
empty = peak()
checkpoint = {"weights": torch.ones(48 * 2**20)}
held = peak()
io.save_checkpoint(checkpoint, path)
saved = peak()
del checkpoint
peak()
loaded = io.load_checkpoint(path)
assert loaded["weights"].shape == (48 * 2**20,) and loaded["weights"].min() == loaded["weights"].max() == 1
print(held - empty, saved - empty, peak() - empty)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the peak in this way")
def test_a_checkpoint_is_saved_and_loaded_without_a_copy_in_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "a.ckpt")], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    held, saving, loading = map(int, done.stdout.split())
    assert 180 < held < 240, "the checkpoint itself"
    assert saving < 240 and loading < 240, "a copy would add 192 MiB"

"""Claims among processes and machines; heartbeats shortened."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from memlab.storage import lock as locks
from memlab.storage.lock import Lock, holder, locked


def other_machine(path: Path, **changes: Any) -> dict[str, Any]:
    """A lock held on another host."""
    content = {
        "token": "theirs",
        "host": "elsewhere",
        "boot": "b",
        "namespace": "n",
        "pid": 1,
        "started": "1",
        "job": "7",
    }
    path.write_text(json.dumps(content | changes))
    return content | changes


def test_one_holds_it_until_it_is_released(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / ".lock"), Lock(tmp_path / ".lock")
    assert first.take() and not second.take()
    assert holder(first.path)["pid"] == os.getpid()
    first.release()
    assert not first.path.exists()
    assert second.take()
    second.release()
    assert list(tmp_path.iterdir()) == []


def _take(path: Path, start: Any, winners: Any) -> None:
    lock = Lock(path)
    start.wait()
    winners.put(lock.take())
    time.sleep(0.5)


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, winners = context.Event(), context.Queue()
    processes = [context.Process(target=_take, args=(tmp_path / ".lock", start, winners)) for _ in range(8)]
    for process in processes:
        process.start()
    start.set()
    assert sorted(winners.get(timeout=20) for _ in processes) == [False] * 7 + [True]
    for process in processes:
        process.join()


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first, second = Lock(tmp_path / ".lock"), Lock(tmp_path / ".lock")
    assert first.take() and not second.take()
    first.release()
    assert second.take()
    first._seen = (("a dead one's", 0), 0.0)  # which it goes to remove; the new one cannot be put back,
    first._remove_dead()  # and its holder sees that it is gone
    assert not second.path.exists()
    second.release()


def test_a_process_that_died_here_is_taken_over_at_once(tmp_path: Path) -> None:
    """Also one whose parent has not taken note of it, and one whose number another process has by now."""
    path = tmp_path / ".lock"
    code = f"""if True:
        from pathlib import Path
        from memlab.storage.lock import Lock
        print(Lock(Path({str(path)!r})).take(), flush=True)
        input()"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "True\n"
    lock = Lock(path)
    assert not lock.take(), "its holder lives"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert lock.take()
    lock.release()
    process.wait()
    other_machine(path, **{**locks._this_process(), "started": "long ago"})
    assert lock.take()
    lock.release()


def test_a_holder_elsewhere_is_dead_when_its_signs_of_life_stop(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    other_machine(path)
    lock = Lock(path, beat=0.1, missed=3)
    end = time.monotonic() + 0.6
    while time.monotonic() < end:  # its clock may be wrong: only that the time changes counts
        os.utime(path, (0, time.monotonic()))
        assert not lock.take()
        time.sleep(0.05)
    start = time.monotonic()
    while not lock.take():
        time.sleep(0.02)
    assert 0.25 < time.monotonic() - start < 5
    assert holder(path)["token"] == lock.token
    lock.release()


def test_a_claim_shows_life(tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".lock", beat=0.05)
    assert lock.take()
    before = lock.path.stat().st_mtime_ns
    time.sleep(0.5)
    assert lock.path.stat().st_mtime_ns > before and not lock.lost
    lock.release()


def test_who_was_taken_over_notices_and_leaves_the_claim_alone(tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".lock", beat=0.05)
    assert lock.take()
    other_machine(lock.path)
    end = time.monotonic() + 5
    while not lock.lost and time.monotonic() < end:
        time.sleep(0.02)
    assert lock.lost
    lock.release()
    assert holder(lock.path)["token"] == "theirs"


def test_of_two_who_see_a_dead_holder_the_second_does_not_remove_the_first(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    other_machine(path)
    slow, quick = Lock(path, beat=0.01, missed=1), Lock(path, beat=0.01, missed=1)
    assert not slow.take() and not quick.take()
    time.sleep(0.05)
    assert slow._holder_is_dead()  # and while it goes to remove the lock ...
    assert quick.take()  # ... the other has done so, and has one of its own
    slow._remove_dead()
    assert holder(path)["token"] == quick.token and not slow.take()
    quick.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("module", "function"), [(os, "utime"), (locks, "read_json")])
def test_the_network_away_for_a_moment_loses_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    lock = Lock(tmp_path / ".lock", beat=0.02)
    assert lock.take()
    with monkeypatch.context() as patch:
        patch.setattr(module, function, lambda *_: (_ for _ in ()).throw(OSError(116, "Stale file handle")))
        time.sleep(0.1)
    before = lock.path.stat().st_mtime_ns
    time.sleep(0.2)
    assert not lock.lost and lock.path.stat().st_mtime_ns > before
    lock.release()


def test_waiting_ends_when_there_is_nothing_left_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ".lock"
    other_machine(path)
    looks = iter([False, True])
    with locked(path, "somebody works on it:", until=lambda: next(looks)) as lock:
        assert lock is None
    assert "somebody works on it: (elsewhere, process 1, job 7)" in capsys.readouterr().out
    with locked(path, "", wait=False) as lock:
        assert lock is None


def test_an_error_releases_the_claim(tmp_path: Path) -> None:
    with contextlib.suppress(KeyError), locked(tmp_path / ".lock", ""):
        raise KeyError
    assert list(tmp_path.iterdir()) == []

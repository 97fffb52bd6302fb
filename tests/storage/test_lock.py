"""Locks among processes and machines, with short heartbeats."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memlab.storage import lock as locks
from memlab.storage.lock import Lock, holder, locked
from tests.conftest import wait_for


class Clock:
    """What time.monotonic() says."""

    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=time.sleep))
    return clock


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


def _take(path: Path, start: Any, end: Any, winners: Any) -> None:
    lock = Lock(path)
    start.wait()
    winners.put(lock.take())
    end.wait()  # all have tried: nobody was taken for dead


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, end, winners = context.Event(), context.Event(), context.Queue()
    processes = [context.Process(target=_take, args=(tmp_path / ".lock", start, end, winners)) for _ in range(8)]
    for process in processes:
        process.start()
    start.set()
    assert sorted(winners.get(timeout=300) for _ in processes) == [False] * 7 + [True]
    end.set()
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
    first._seen = (("a dead one's", 0), 0.0)  # it goes to remove that one, finds a new one, and cannot put it back:
    first._remove_dead()  # the new holder will see that its lock is gone
    assert not second.path.exists()
    second.release()


def test_a_process_that_died_here_is_taken_over_at_once(tmp_path: Path) -> None:
    """Also a zombie, whose parent has not waited for it, and a process whose number has been used again since."""
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


def test_a_holder_elsewhere_is_dead_when_its_heartbeats_stop(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / ".lock"
    other_machine(path)
    lock = Lock(path, beat=10, missed=3)
    for heartbeat in range(10):  # the holder's clock may be wrong: only that the time of the file changes counts
        os.utime(path, (0, heartbeat))
        assert not lock.take()
        clock.now += 29
        assert not lock.take()
    clock.now += 2
    assert lock.take()
    assert holder(path)["token"] == lock.token
    lock.release()


def test_a_holder_sends_heartbeats(tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".lock", beat=0.02)
    assert lock.take()
    for _ in range(2):
        before = lock.path.stat().st_mtime_ns
        wait_for(lambda before=before: lock.path.stat().st_mtime_ns > before)
    assert not lock.lost
    lock.release()


def test_a_holder_that_was_taken_over_notices_and_leaves_the_lock_alone(tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".lock", beat=0.02)
    assert lock.take()
    other_machine(lock.path)
    wait_for(lambda: lock.lost)
    lock.release()
    assert holder(lock.path)["token"] == "theirs"


def test_of_two_who_see_a_dead_holder_the_second_does_not_remove_the_first(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / ".lock"
    other_machine(path)
    slow, quick = Lock(path), Lock(path)
    assert not slow.take() and not quick.take()
    clock.now += 1000
    assert slow._holder_is_dead()  # and while it goes to remove the lock ...
    assert quick.take()  # ... the other has done so, and holds a lock of its own
    slow._remove_dead()
    assert holder(path)["token"] == quick.token and not slow.take()
    quick.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("module", "function"), [(os, "utime"), (locks, "read_json")])
def test_a_network_that_is_down_for_a_moment_loses_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    attempts = []

    def fail(*_: Any) -> None:
        attempts.append(1)
        raise OSError(116, "Stale file handle")

    lock = Lock(tmp_path / ".lock", beat=0.02)
    assert lock.take()
    with monkeypatch.context() as patch:
        patch.setattr(module, function, fail)
        wait_for(lambda: len(attempts) > 2)
    before = lock.path.stat().st_mtime_ns
    wait_for(lambda: lock.path.stat().st_mtime_ns > before)
    assert not lock.lost
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


def test_an_error_releases_the_lock(tmp_path: Path) -> None:
    with contextlib.suppress(KeyError), locked(tmp_path / ".lock", ""):
        raise KeyError
    assert list(tmp_path.iterdir()) == []

"""Locks: which process is working on a folder.

A lock is a file that one process holds at a time; it works on network file systems.

No lock on a network file system is truly exclusive: a holder can lose its network, be considered dead, and come back.
Everything made under a lock is therefore written atomically and does not depend on who makes it, so that a second
holder costs time and does no harm. A holder that finds its lock taken over stops.
"""

import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from memlab.progress import console
from memlab.storage.files import read_json, temporary_file

BEAT = 10.0  # seconds between two heartbeats
MISSED = 6  # this many heartbeats missed in a row: the holder is considered dead
POLL = 0.5  # seconds between two attempts of a process that waits


class LockLostError(Exception):
    """Another process considered this one dead and has taken its lock over."""


class Lock:
    """A lock at `path`, held from a successful `take` until `release`, or until another process takes it over.

    A holder on another machine is considered dead after `missed * beat` seconds without a heartbeat, measured on the
    waiter's clock; a holder on the same machine, as soon as its process has exited. `lost` becomes true in a holder
    that has been taken over.
    """

    def __init__(self, path: Path, *, beat: float = BEAT, missed: int = MISSED) -> None:
        self.path = path
        self.beat = beat
        self.missed = missed
        self.token = secrets.token_hex(8)
        self.lost = False
        self._seen: tuple[Any, float] = (None, 0.0)  # the other holder's last heartbeat, and when we saw it
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> bool:
        """Try to take the lock and return whether this process now holds it. Remove the lock of a dead holder first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._create():
            self._thread = threading.Thread(target=self._send_heartbeats, daemon=True)
            self._thread.start()
            return True
        if self._holder_is_dead():
            self._remove_dead()
            return self.take()
        return False

    def release(self) -> None:
        """Give the lock back. Leave it alone if another process has taken it over."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if not self.lost and _token(self.path) == self.token:
            self.path.unlink(missing_ok=True)

    def _create(self) -> bool:
        content = json.dumps({"token": self.token, **_this_process()}).encode()
        with temporary_file(self.path) as temporary:
            temporary.write_bytes(content)
            try:
                os.link(temporary, self.path)  # atomic everywhere; O_EXCL is not, on old network file systems
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                    raise
                return self._create_exclusively(content)  # a file system without links
        return _token(self.path) == self.token  # the reply to a link can get lost on a network; the file cannot

    def _create_exclusively(self, content: bytes) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return True

    def _send_heartbeats(self) -> None:
        while not self._stop.wait(self.beat):
            try:
                self.lost = read_json(self.path)["token"] != self.token
                if self.lost:
                    return
                os.utime(self.path)
            except FileNotFoundError:
                self.lost = True
                return
            except (OSError, ValueError):
                continue  # the network is down: processes that wait see that too

    def _holder_is_dead(self) -> bool:
        now = time.monotonic()
        try:
            heartbeat = (_token(self.path), self.path.stat().st_mtime_ns)
        except FileNotFoundError:
            return False  # released: try again
        if heartbeat != self._seen[0]:
            self._seen = (heartbeat, now)
        return process_is_dead(holder(self.path)) or now - self._seen[1] > self.beat * self.missed

    def _remove_dead(self) -> None:
        """Rename the lock first, so that only one of several waiters removes it."""
        dead, expected = self.path.with_name(f"{self.path.name}.{self.token}"), self._seen[0][0]
        try:
            os.rename(self.path, dead)
        except FileNotFoundError:
            return
        if _token(dead) != expected:  # another waiter was faster and already holds a lock of its own
            with suppress(OSError):  # if it cannot be put back, its holder notices and stops
                os.link(dead, self.path)
        dead.unlink(missing_ok=True)


@contextmanager
def locked(
    path: Path, waiting: str, until: Callable[[], bool] = lambda: False, wait: bool = True
) -> Iterator[Lock | None]:
    """Hold the lock at `path` during the body; if another process holds it, print `waiting` once and wait.

    Yield None without holding the lock if `until()` becomes true while waiting, so that nothing is left to do, or if
    the lock is taken and `wait` is false.
    """
    lock, said = Lock(path), False
    while not lock.take():
        if until() or not wait:
            yield None
            return
        if not said:
            console.print(f"{waiting} {described(holder(path))}".rstrip(), markup=False)
            said = True
        time.sleep(POLL)
    try:
        yield lock
    finally:
        lock.release()


def holder(path: Path) -> dict[str, Any]:
    """Return who holds a lock: token, host, boot, namespace, pid, started, job; empty if nobody does."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def described(holder: dict[str, Any]) -> str:
    """Return `(host, process 7, job 12)` for a message; an empty string for no holder."""
    if not holder:
        return ""
    job = f", job {holder['job']}" if holder.get("job") else ""
    return f"({holder['host']}, process {holder['pid']}{job})"


def process_is_dead(holder: dict[str, Any]) -> bool:
    """Whether a holder ran on this machine and its process has exited. False for a holder on another machine."""
    here = _this_process()
    if not holder or any(holder.get(key) != here[key] for key in ("host", "boot", "namespace")):
        return False
    return _started(holder["pid"]) != holder["started"]


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "namespace": _namespace(),  # each container on a host numbers its own processes
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "job": os.environ.get("SLURM_JOB_ID"),
    }


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's clock ticks (process ids are reused); None if it does not exist."""
    stat = _read(f"/proc/{pid}/stat")
    if stat is not None:
        state, *numbers = stat.rpartition(")")[2].split()  # the command's name before it can contain anything
        return None if state in "ZX" else numbers[18]  # a zombie: dead, but its parent has not waited for it
    try:
        os.kill(pid, 0)  # a system without /proc
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return None if Path("/proc/self").exists() else "running"


def _namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _token(path: Path) -> str | None:
    return holder(path).get("token")

"""Claims: which process works on a folder. A file, taken by one at a time, on network file systems too.

No lock on a network file system is exclusive for certain: a holder may be cut off, be taken for dead and come back.
So whatever is made under a lock is written atomically and is the same whoever makes it: two holders cost time and
harm nothing. A holder that finds its lock taken over stops.
"""

import contextlib
import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memlab.progress import console
from memlab.storage.files import read_json, write_temporary

BEAT = 10.0  # seconds between two signs of life
MISSED = 6  # of them in a row: the holder is dead
POLL = 0.5  # seconds between two looks of who waits


class LockLostError(Exception):
    """Another process took this one for dead and goes on in its place."""


class Lock:
    """A lock at `path`. It is held from a `take` that succeeds until `release`, or until another process takes over.

    beat, missed: a holder on another machine is dead after `missed` times `beat` seconds without a sign of life, by
    the clock of who waits; one on this machine as soon as its process is.
    """

    def __init__(self, path: Path, *, beat: float = BEAT, missed: int = MISSED) -> None:
        self.path = path
        self.beat = beat
        self.missed = missed
        self.token = secrets.token_hex(8)
        self.lost = False
        self._seen: tuple[Any, float] = (None, 0.0)  # the other holder's last sign of life, and when it was seen
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> bool:
        """Whether the lock is held now. Removes one whose holder is dead."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._create():
            self._thread = threading.Thread(target=self._show_life, daemon=True)
            self._thread.start()
            return True
        if self._holder_is_dead():
            self._remove_dead()
            return self.take()
        return False

    def release(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if not self.lost and _token(self.path) == self.token:
            self.path.unlink(missing_ok=True)

    def _create(self) -> bool:
        content = json.dumps({"token": self.token, **_this_process()}).encode()
        temporary = write_temporary(self.path, content)
        try:
            # A link is made or refused as a whole, where O_EXCL is not on old network file systems.
            os.link(temporary, self.path)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                raise
            return self._create_exclusively(content)  # a file system without links
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        return _token(self.path) == self.token  # the answer to a link may get lost on the way; the file does not

    def _create_exclusively(self, content: bytes) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return True

    def _show_life(self) -> None:
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
                continue  # the network is away: who waits sees it as long as this process does

    def _holder_is_dead(self) -> bool:
        now = time.monotonic()
        try:
            sign = (_token(self.path), self.path.stat().st_mtime_ns)
        except FileNotFoundError:
            return False  # released: the next attempt to create it tells
        if sign != self._seen[0]:
            self._seen = (sign, now)
        return process_is_dead(holder(self.path)) or now - self._seen[1] > self.beat * self.missed

    def _remove_dead(self) -> None:
        """Renames first, so that of several who saw the same holder dead one does it."""
        dead, expected = self.path.with_name(f"{self.path.name}.{self.token}"), self._seen[0][0]
        try:
            os.rename(self.path, dead)
        except FileNotFoundError:
            return
        if _token(dead) != expected:  # another was quicker, and has a lock of its own since
            with contextlib.suppress(OSError):  # without it, its holder notices and leaves off
                os.link(dead, self.path)
        dead.unlink(missing_ok=True)


@contextmanager
def locked(
    path: Path, waiting: str, until: Callable[[], bool] = lambda: False, wait: bool = True
) -> Iterator[Lock | None]:
    """Holds the lock at `path`; if another process has it, says `waiting` and waits.

    None where `until` came true in the meantime, so that there is nothing left to do, or if not to `wait`.
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
    """Who holds a lock: token, host, pid, job ...; empty if nobody does."""
    try:
        content = read_json(path)
    except (OSError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def described(holder: dict[str, Any]) -> str:
    if not holder:
        return ""
    job = f", job {holder['job']}" if holder.get("job") else ""
    return f"({holder['host']}, process {holder['pid']}{job})"


def process_is_dead(holder: dict[str, Any]) -> bool:
    """Whether a holder's process is known to be gone: it was on this machine, and is not there any more."""
    here = _this_process()
    if not holder or any(holder.get(key) != here[key] for key in ("host", "boot", "namespace")):
        return False
    return _started(holder["pid"]) != holder["started"]


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "namespace": _namespace(),  # containers on a host count their processes each for itself
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "job": os.environ.get("SLURM_JOB_ID"),
    }


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks, as a process id is used again; None if there is none."""
    stat = _read(f"/proc/{pid}/stat")
    if stat is not None:
        state, *numbers = stat.rpartition(")")[2].split()  # the name before it may hold anything
        return None if state in "ZX" else numbers[18]  # dead, and not yet taken note of by its parent
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

"""The page over HTTP: the page itself, and its contents again for a page that follows a sweep. Nothing else."""

import hashlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

from memlab.dashboard.contents import Contents, as_json
from memlab.dashboard.page import render
from memlab.errors import UserError, explain

EVERY = 2.0  # seconds between two looks at the runs folder, however many pages ask
PAGE, CONTENTS = "/", "/data.json"


class Server(ThreadingHTTPServer):
    """Serves `read()`, which returns the contents of the page, on a host and port; port 0: any free one.

    On a loopback address, only requests that name a loopback host are answered: a page of another site that a browser
    has open cannot read the contents under a name of its own (DNS rebinding).
    """

    daemon_threads = True

    def __init__(self, read: Callable[[], Contents], host: str, port: int) -> None:
        self.current = _Current(read)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(f"cannot listen on {host}, port {port} ({error}): give others, --host and --port") from None
        self.local = is_loopback(host)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}/" if ":" in str(host) else f"http://{host!s}:{port}/"


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Look(NamedTuple):
    """The contents at one time, as JSON, and their ETag: equal for equal ones, whenever they were made."""

    contents: Contents
    body: bytes
    mark: str

    @classmethod
    def at(cls, contents: Contents) -> "Look":
        lasting = {key: value for key, value in contents.items() if key != "made"}
        mark = hashlib.sha256(as_json(lasting).encode()).hexdigest()[:32]
        return cls(contents, as_json(contents).encode(), f'"{mark}"')


class _Current:
    """The latest contents, read at most every EVERY seconds by whichever request comes first."""

    def __init__(self, read: Callable[[], Contents]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._last: tuple[float, Look] | None = None

    def look(self) -> Look:
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > EVERY:
                look = Look.at(self._read())
                self._last = (time.monotonic(), look)
            return self._last[1]


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "memlab", ""
    timeout = 30

    def do_GET(self) -> None:
        if self.server.local and not is_loopback(urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""):
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"this server answers under the name localhost only\n")
            return
        path = urlsplit(self.path).path
        if path not in (PAGE, CONTENTS):
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"there is / and /data.json\n")
            return
        try:
            look = self.server.current.look()
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", message.encode())
            return
        if path == PAGE:
            self._answer(HTTPStatus.OK, "text/html", render(look.contents, live=True).encode())
        else:
            self._answer(HTTPStatus.OK, "application/json", look.body, mark=look.mark)

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, kind: str, body: bytes, mark: str | None = None) -> None:
        known = mark is not None and self.headers.get("If-None-Match") == mark
        self.send_response(HTTPStatus.NOT_MODIFIED if known else status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        if not known:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Referrer-Policy", "no-referrer")
        if mark is not None:
            self.send_header("ETag", mark)
        self.end_headers()
        if self.command != "HEAD" and not known:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are not logged: a page asks every few seconds."""

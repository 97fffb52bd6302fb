"""A local server that plays the Hugging Face Hub: repositories in memory, as far as memlab's calls go."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.servers import running

Repository = dict[str, bytes]
HIDDEN = "hidden/model"  # asks for a login, as private ones do


class Hub(ThreadingHTTPServer):
    """repositories: files by "owner/name" and path. asked: every request's method and path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()
    with running(hub):
        yield hub


def commit_of(files: Repository) -> str:
    return hashlib.sha1(json.dumps({name: len(data) for name, data in files.items()}).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._path()
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            return self._about(*found.groups())
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(*found.groups())
        self._refuse(404, "EntryNotFound")

    def do_POST(self) -> None:
        path, body = self._path(), self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer hf_writer":
            return self._refuse(401, "")
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.server.repositories.setdefault(name, {})
            return self._json({"url": f"{self.server.address}/{name}", "name": name})
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/[^/]+", path):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/[^/]+", path):
            repository = self.server.repositories[found[1]]
            for line in body.splitlines():
                part = json.loads(line)
                if part["key"] == "file":
                    repository[part["value"]["path"]] = base64.b64decode(part["value"]["content"])
            commit = commit_of(repository)
            about = {"commitUrl": f"{self.server.address}/{found[1]}/commit/{commit}", "commitOid": commit}
            return self._json({**about, "success": True, "hookOutput": ""})
        self._refuse(404, "EntryNotFound")

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        return path

    def _about(self, name: str, what: str | None, revision: str | None) -> None:
        files = self._repository(name, revision or "main")
        if files is None:
            return
        if what == "tree":
            entries = [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files.items()
            ]
            return self._json(entries)
        siblings = [{"rfilename": path} for path in files]
        self._json({"id": name, "modelId": name, "sha": commit_of(files), "siblings": siblings, "private": False})

    def _file(self, name: str, revision: str, path: str) -> None:
        files = self._repository(name, revision)
        if files is None:
            return
        if path not in files:
            return self._refuse(404, "EntryNotFound")
        data = files[path]
        about = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit_of(files)}
        self._send(200, data, about)

    def _repository(self, name: str, revision: str) -> Repository | None:
        files = self.server.repositories.get(name)
        if name == HIDDEN or files is None:
            self._refuse(401, "RepoNotFound")
            return None
        if revision not in ("main", commit_of(files)):
            self._refuse(404, "RevisionNotFound")
            return None
        return files

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code} if code else {})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

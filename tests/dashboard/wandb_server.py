"""A local server that plays the API of Weights & Biases, as far as saved views and reports go."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers import running

KEY = "0123456789" * 4


class Wandb(ThreadingHTTPServer):
    """project: the one that is there. views: by id, as they were saved last."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.views: dict[str, dict[str, Any]] = {}
        self.project = "mine"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving() -> Iterator[Wandb]:
    server = Wandb()
    with running(server):
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: Wandb

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/graphql":
            return self._send(200, {})  # wandb's own reports of its use
        asked = json.loads(body)
        self._send(200, {"data": self._answer(asked["query"], asked.get("variables") or {})})

    def _answer(self, query: str, values: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "p", "name": values.get("projectName"), "entityName": values.get("entityName")}
        if "upsertView" in query:
            number = values.get("id") or f"view-{len(self.server.views)}"
            self.server.views[number] = values
            view = {**values, "id": number, "project": project, "updatedAt": "2026-01-01T00:00:00"}
            return {"upsertView": {"view": view, "inserted": True}}
        if "allViews" in query:
            nodes = [
                {"id": number, "name": view["name"], "displayName": view["displayName"]}
                for number, view in self.server.views.items()
                if view["type"] == values["kind"]
            ]
            known = values["project"] == self.server.project
            return {"project": {"allViews": {"edges": [{"node": node} for node in nodes]}} if known else None}
        if "ProjectInternalId" in query:
            return {"project": {**project, "internalId": "cA=="}}
        if "models(" in query:
            mine = {**project, "name": self.server.project, "entityName": "me", "createdAt": "", "isBenchmark": False}
            mine["user"] = None
            pages = {"endCursor": "", "hasNextPage": False}
            return {"models": {"edges": [{"node": mine, "cursor": ""}], "pageInfo": pages}}
        viewer = {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
        return {"viewer": viewer}

    def _send(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

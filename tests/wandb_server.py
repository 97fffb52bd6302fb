"""A local server that plays the API of Weights & Biases: runs as they are sent, artifacts, saved views and reports."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from tests.servers import running

KEY = "0123456789" * 4
WELL = "well"  # how a server is; others: failing (status 500), refusing (status 401), silent


@dataclass
class Sent:
    """A run as the server has it. about: the fields of its creation. history: its rows, by wandb's step."""

    name: str
    about: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=dict)  # by file: the lines, by their place in it
    files: dict[str, bytes] = field(default_factory=dict)
    starts: int = 0
    finished: bool = False
    makes: list[str] = field(default_factory=list)  # artifacts
    uses: list[str] = field(default_factory=list)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows, in the order of their places."""
        lines = self.lines.get("wandb-history.jsonl", {})
        return [json.loads(lines[place]) for place in sorted(lines)]

    @property
    def summary(self) -> dict[str, Any]:
        lines = self.lines.get("wandb-summary.json", {})
        return dict(json.loads(lines[max(lines)])) if lines else {}

    @property
    def metrics(self) -> dict[str, str]:
        """By the pattern of metrics: the metric that is their axis, from what wandb writes into the configuration."""
        defined = self.config["_wandb"]["value"]["m"]  # 1: a name, 2: a pattern, 5: the place of the axis, from 1 on
        return {one["2"]: defined[one["5"] - 1]["1"] for one in defined if "2" in one}


class Wandb(ThreadingHTTPServer):
    """project: the one that is there. views: by id, as they were saved last. runs: by id. state: WELL, or another."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.views: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, Sent] = {}
        self.artifacts: dict[str, str] = {}  # name, by id
        self.project = "mine"
        self.state = WELL

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """A client may go at any time."""


@contextmanager
def serving() -> Iterator[Wandb]:
    server = Wandb()
    with running(server):
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: Wandb
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(404, {})

    def do_PUT(self) -> None:
        body = self._body()
        kind, run, name = unquote(self.path).strip("/").split("/", 2)
        if kind == "upload":
            self.server.runs[run].files[name] = body
        self._send(200, {})

    def do_POST(self) -> None:
        body = self._body()
        if self.server.state != WELL:
            if self.server.state == "silent":
                time.sleep(60)
            return self._send(401 if self.server.state == "refusing" else 500, {})
        if self.path.endswith("/file_stream"):
            self._stream(self.path.split("/")[-2], json.loads(body))
            return self._send(200, {})
        if self.path != "/graphql":
            return self._send(200, {})  # wandb's own reports of its use
        asked = json.loads(body)
        query, values = asked["query"], asked.get("variables") or {}
        values = values.get("input", values)
        for words, answer in _ANSWERS.items():
            if words in query:
                return self._send(200, {"data": answer(self.server, values)})
        viewer = {"id": "1", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
        self._send(200, {"data": {"viewer": viewer}})

    def _stream(self, name: str, sent: dict[str, Any]) -> None:
        run = self.server.runs[name]
        run.finished = run.finished or bool(sent.get("complete"))
        for file, chunk in (sent.get("files") or {}).items():
            for place, line in enumerate(chunk["content"], chunk["offset"]):
                run.lines.setdefault(file, {})[place] = line

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _project(values: dict[str, Any]) -> dict[str, Any]:
    return {"id": "p", "name": values.get("projectName"), "entityName": values.get("entityName")}


def _upsert_view(server: Wandb, values: dict[str, Any]) -> dict[str, Any]:
    number = values.get("id") or f"view-{len(server.views)}"
    server.views[number] = values
    view = {**values, "id": number, "project": _project(values), "updatedAt": "2026-01-01T00:00:00"}
    return {"upsertView": {"view": view, "inserted": True}}


def _all_views(server: Wandb, values: dict[str, Any]) -> dict[str, Any]:
    nodes = [
        {"id": number, "name": view["name"], "displayName": view["displayName"]}
        for number, view in server.views.items()
        if view["type"] == values["kind"]
    ]
    known = values["project"] == server.project
    return {"project": {"allViews": {"edges": [{"node": node} for node in nodes]}} if known else None}


def _models(server: Wandb, values: dict[str, Any]) -> dict[str, Any]:
    mine = {**_project(values), "name": server.project, "entityName": "me", "createdAt": "", "isBenchmark": False}
    mine["user"] = None
    pages = {"endCursor": "", "hasNextPage": False}
    return {"models": {"edges": [{"node": mine, "cursor": ""}], "pageInfo": pages}}


def _resume_status(server: Wandb, values: dict[str, Any]) -> dict[str, Any]:
    run = server.runs.get(values["name"])
    entity = {"id": "e", "name": "me"}
    model: dict[str, Any] = {"id": "p", "name": values["project"], "entity": entity, "bucket": None}
    if run is not None:
        history, events = (run.lines.get(f"wandb-{kind}.jsonl", {}) for kind in ("history", "events"))
        tails = [json.dumps([lines[place] for place in sorted(lines)[-1:]]) for lines in (history, events)]
        model["bucket"] = {
            **{"id": run.name, "name": run.name, "displayName": run.about["displayName"], "notes": None},
            **{"summaryMetrics": json.dumps(run.summary), "config": json.dumps(run.config), "logLineCount": 0},
            **{"historyLineCount": len(history), "eventsLineCount": len(events), "tags": run.about["tags"]},
            **{"historyTail": tails[0], "eventsTail": tails[1]},
            "wandbConfig": json.dumps({"t": run.config["_wandb"]["value"]["t"]}),
        }
    return {"model": model}


def _upsert_run(server: Wandb, values: dict[str, Any]) -> dict[str, Any]:
    known = values["name"] in server.runs
    run = server.runs.setdefault(values["name"], Sent(values["name"]))
    run.about |= {key: value for key, value in values.items() if value is not None and key != "config"}
    if values["displayName"] is not None:
        run.starts += 1
        if values["id"] is None:  # not resumed: it replaces the run of that name, as wandb's own server does
            run.lines.clear()
    if values.get("config"):
        run.config |= json.loads(values["config"])
    project = {"id": "p", "name": values["project"], "entity": {"id": "e", "name": "me"}}
    bucket = {
        **{"id": run.name, "name": run.name, "displayName": run.about["displayName"], "description": ""},
        **{"config": json.dumps(run.config), "sweepName": None, "project": project, "historyLineCount": None},
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": not known}}


def _run_files(server: Wandb, values: dict[str, Any]) -> dict[str, Any]:
    files = [{"name": name, "uploadUrl": f"{server.address}/upload/{values['run']}/{name}"} for name in values["files"]]
    return {"createRunFiles": {"runID": values["run"], "uploadHeaders": [], "files": files}}


def _artifact(server: Wandb, values: dict[str, Any]) -> dict[str, Any]:
    name = values["artifactCollectionName"]
    number = f"artifact-{len(server.artifacts)}"
    server.artifacts[number] = name
    if values.get("runName"):
        server.runs[values["runName"]].makes.append(name)
    artifact = {"id": number, "state": "PENDING", "artifactSequence": {"id": "s", "latestArtifact": None}}
    return {"createArtifact": {"artifact": artifact}}


def _manifest(server: Wandb, values: dict[str, Any]) -> dict[str, Any]:
    file = {"id": "f", "name": "m", "displayName": "m", "uploadHeaders": []}
    file["uploadUrl"] = f"{server.address}/manifest/{values['artifactID']}/m"
    return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}


def _artifact_files(server: Wandb, values: dict[str, Any]) -> dict[str, Any]:
    nodes = [
        {
            **{"id": "f", "name": file["name"], "displayName": file["name"], "storagePath": None},
            **{"uploadUrl": f"{server.address}/artifact/{file['artifactID']}/{file['name']}", "uploadHeaders": []},
            **{"uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]}},
        }
        for file in values["artifactFiles"]
    ]
    return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}


def _use_artifact(server: Wandb, values: dict[str, Any]) -> dict[str, Any]:
    server.runs[values["runName"]].uses.append(server.artifacts[values["artifactID"]])
    return {"useArtifact": {"artifact": {"id": values["artifactID"]}}}


# By words of the query; the first that is found answers.
_ANSWERS: dict[str, Any] = {
    "upsertView": _upsert_view,
    "allViews": _all_views,
    "ProjectInternalId": lambda server, values: {"project": {**_project(values), "internalId": "cA=="}},
    "models(": _models,
    "RunResumeStatus": _resume_status,
    "UpsertBucket": _upsert_run,
    "CreateRunFiles": _run_files,
    "ArtifactType": lambda server, values: {"project": None},
    "OrganizationCoreWeave": lambda server, values: {"entity": None},
    "ServerFeatures": lambda server, values: {"serverInfo": {"features": []}},
    "CreateArtifactManifest": _manifest,
    "CreateArtifactFiles": _artifact_files,
    "CommitArtifact": lambda server, values: {
        "commitArtifact": {"artifact": {"id": values["artifactID"], "digest": ""}}
    },
    "UseArtifact": _use_artifact,
    "CreateArtifact": _artifact,
}

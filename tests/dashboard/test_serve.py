"""The server: two answers, on this machine alone."""

import http.client
import json
import socket
from pathlib import Path

import pytest

from memlab.dashboard import serve
from memlab.dashboard.contents import RunsReader
from memlab.dashboard.serve import Server, is_loopback
from memlab.errors import UserError
from memlab.storage.run_folder import RunFolder
from tests.dashboard.conftest import MakeRuns, log, serving, write_config
from tests.dashboard.test_page import contents_of


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = (answer.status, answer.headers, answer.read())
    connection.close()
    return found


def test_the_page_and_its_contents_are_served(make_runs: MakeRuns) -> None:
    with serving(make_runs(["blank_copy"])) as server:
        assert is_loopback(server.server_address[0])
        status, headers, page = ask(server, "/")
        assert status == 200 and headers["Content-Type"].startswith("text/html")
        assert 'data-mode="live"' in page.decode()
        status, headers, body = ask(server, "/data.json?now=1")
        assert status == 200 and headers["Content-Type"].startswith("application/json")
        assert json.loads(body) == contents_of(page.decode())
        status, headers, body = ask(server, "/data.json", If_None_Match=headers["ETag"])
        assert (status, body) == (304, b"")
        assert ask(server, "/", "HEAD")[::2] == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["/stages", "/index.html", "/../../etc/passwd", "/%2e%2e/pyproject.toml", "//etc/passwd", "/data.json/", "*"],
)
def test_nothing_else_is_served(make_runs: MakeRuns, path: str) -> None:
    with serving(make_runs(["blank_copy"])) as server:
        status, _, body = ask(server, path)
        assert status == 404 and body == b"there is / and /data.json\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(make_runs: MakeRuns, method: str) -> None:
    with serving(make_runs(["blank_copy"])) as server:
        assert ask(server, "/data.json", method)[0] == 501


def test_a_foreign_name_is_refused(make_runs: MakeRuns) -> None:
    """A page of another site can point a name of its own at 127.0.0.1; its requests carry that name."""
    with serving(make_runs(["blank_copy"])) as server:
        port = server.server_address[1]
        for name in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", ""):
            assert ask(server, "/data.json", Host=name)[0] == 403, name
        for name in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
            assert ask(server, "/data.json", Host=name)[0] == 200, name


def test_new_rows_are_served(make_runs: MakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "EVERY", 0.0)
    runs = make_runs(["blank_copy"])
    with serving(runs) as server:
        mark = ask(server, "/data.json")[1]["ETag"]
        run = RunFolder(runs, "copy", "new")
        write_config(run, 0, "mixer", ["direct_copy"])
        log(run, 10)
        _, headers, body = ask(server, "/data.json", If_None_Match=mark)
        assert headers["ETag"] != mark and json.loads(body)["stages"]["copy-new"]["step"] == 10


def test_many_pages_read_the_runs_folder_once(make_runs: MakeRuns) -> None:
    reader, reads = RunsReader(make_runs(["blank_copy"])), []
    with Server(lambda: reads.append(1) or reader.read(), "127.0.0.1", 0) as server:
        found = [server.current.look() for _ in range(5)]
    assert len(reads) == 1 and all(one is found[0] for one in found)


def test_a_runs_folder_that_went_away_is_an_answer(make_runs: MakeRuns, tmp_path: Path) -> None:
    runs = make_runs(["blank_copy"])
    with serving(runs) as server:
        runs.rename(tmp_path / "away")
        status, _, body = ask(server, "/")
        assert status == 500 and b"is not a runs folder" in body


def test_a_taken_port_is_a_mistake_with_one_message(make_runs: MakeRuns) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="--port"):
            Server(RunsReader(make_runs(["blank_copy"])).read, "127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match="cannot listen"):
        Server(dict, "127.0.0.1", 70_000)


def test_names_of_this_machine() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.3.2.1", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))

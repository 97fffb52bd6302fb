"""The file: whole, small, self-contained, and text from data stays text."""

import argparse
import base64
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from memlab.dashboard import __main__ as command
from memlab.dashboard.contents import RunsReader, committed_contents, in_html
from memlab.dashboard.page import HERE, SCRIPTS, STYLES, render
from tests.dashboard.conftest import MakeRuns

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror=window.hacked=1>&amp;%%SCRIPT%%\u2028"
SUMS = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


def contents_of(page: str) -> Any:
    """What stands in the page's element of contents, as a browser would read it."""
    (text,) = re.findall(r'<script id="contents"[^>]*>(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(text)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["dashboard", *arguments])
    command.main()


def test_the_page_of_the_committed_results_is_one_small_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--from-results", "--out", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_bytes()
    assert len(page) < 5_000_000
    expected = committed_contents()
    assert contents_of(page.decode()) == {
        **json.loads(json.dumps(expected)),
        "made": contents_of(page.decode())["made"],
    }
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_page_names_nothing_to_load(make_runs: MakeRuns) -> None:
    page = render(RunsReader(make_runs(["blank_copy"])).read())
    assert not re.findall(r"<(?:link|img|iframe|object|embed|video|audio|base)\b|@import|url\(", page)
    assert not re.findall(r"<[a-z]+[^>]*\s(?:src|href|srcset|action)=", page)


@pytest.mark.parametrize("live", [False, True])
def test_the_policy_allows_the_pages_own_code_alone(make_runs: MakeRuns, live: bool) -> None:
    page = render(RunsReader(make_runs(["blank_copy"])).read(), live=live)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (style,), (script,) = (re.findall(f"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL) for tag in ("style", "script"))
    for text, rule in ((style, "style-src"), (script, "script-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["connect-src"] == ("'self'" if live else "'none'")


def test_text_from_data_cannot_leave_its_element(make_runs: MakeRuns) -> None:
    runs = make_runs([HOSTILE], samples=[{"text": HOSTILE, "regenerated": HOSTILE}])
    contents = {**RunsReader(runs).read(), "source": HOSTILE}
    page = render(contents)
    assert page.count("<script") == 2 and page.count("</script>") == 2 and "<img" not in page
    assert contents_of(page)["reports"][0]["rows"][0]["arm"] == HOSTILE
    (text,) = re.findall(r"<title>(.*?)</title>", page, flags=re.DOTALL)
    assert "<" not in text


def test_json_in_html_reads_as_itself() -> None:
    values = {"a": "<!-- <script> & \u2028 \u2029 \\u003c", "b": [1.5, None, "é"]}
    text = in_html(json.dumps(values, ensure_ascii=False))
    assert json.loads(text) == values and not set("<>&\u2028\u2029") & set(text)


def test_the_pages_code_never_parses_html() -> None:
    ways = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\b|Function\("
    )
    own = [path for path in SCRIPTS if path.parent.name == "page"]
    assert len(own) == len(list((HERE / "page").glob("*.js"))), "every file is part of the page"
    assert not {path.name: found for path in own if (found := re.findall(ways, path.read_text()))}


def test_the_vendored_library_is_as_published() -> None:
    readme = (HERE / "vendor" / "README.md").read_text()
    for path in (SCRIPTS[0], STYLES[0]):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == SUMS[path.name], path.name
    (version,) = re.findall(r"uPlot \(v([\d.]+)\)", SCRIPTS[0].read_text())
    assert f"| {version} |" in readme
    assert "MIT License" in (SCRIPTS[0].parent / "LICENSE").read_text()


def test_a_mistake_ends_with_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "--runs-dir", str(tmp_path), "--out", str(tmp_path / "page.html"))
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "not a runs folder" in line


def test_the_server_is_of_this_machine_alone_unless_told() -> None:
    options: argparse.Namespace = command._parser().parse_args(["--serve"])
    assert options.host == "127.0.0.1"

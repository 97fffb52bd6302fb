"""The page in a real Chromium: hostile text, requests, many runs, and a sweep that is still running."""

import http.server
import threading
import time
from collections.abc import Callable
from typing import Any

from memlab.dashboard.contents import RunsReader
from memlab.storage.lock import Lock
from memlab.storage.run_folder import RunFolder
from tests.dashboard.browsing import SCREENSHOTS, TABS, legend, opened, picture, show
from tests.dashboard.conftest import MakeRuns, log, serving, write_config
from tests.dashboard.test_page import HOSTILE


def test_text_from_data_is_shown_as_text(browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns) -> None:
    runs = make_runs([HOSTILE, "blank_copy"], samples=[{"text": HOSTILE, "regenerated": f"{HOSTILE}?"}])
    run = RunFolder(runs, "copy", "broken")
    write_config(run, 0, HOSTILE, [HOSTILE])
    run.note_failure(HOSTILE)
    contents = {**RunsReader(runs).read(), "source": HOSTILE, "problems": [HOSTILE]}
    for text in ("title", "headline", "command"):
        contents["reports"][0][text] = HOSTILE
    contents["reports"][0]["context"] = [{key: HOSTILE for key in ("text", "metric", "value", "source")}]
    contents["workspace"]["reports"] = [{"name": HOSTILE, "sections": [HOSTILE], "runs": HOSTILE, "panels": []}]
    scripts = "document.querySelectorAll('script').length"
    with opened(browser, file_of(contents)) as page:
        count = page.evaluate(scripts)
        for tab in TABS:
            show(page, tab)
            assert HOSTILE[:24] in page.inner_text("#panel") or tab in ("curves", "positions", "arms"), tab
            assert HOSTILE[:24] in page.inner_text("#problems")
            assert page.locator("img").count() == 0 and page.evaluate(scripts) == count
        assert page.evaluate("window.hacked") is None
        show(page, "curves")
        assert any(HOSTILE[:24] in name for name in legend(page))


def test_no_request_can_leave_the_page(browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns) -> None:
    """The policy stops even a script that would try."""
    hits: list[str] = []

    class Counting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{elsewhere.server_address[1]}/"
        contents = RunsReader(make_runs(["blank_copy"])).read()
        with opened(browser, file_of(contents)) as page:
            assert (
                page.evaluate(f"fetch('{url}', {{mode: 'no-cors'}}).then(() => 'sent', () => 'refused')") == "refused"
            )
            load = "new Promise(end => {const i = new Image(); i.onload = i.onerror = e => end(e.type); i.src = URL;})"
            assert page.evaluate(load.replace("URL", f"'{url}'")) == "error"
            refusals = [text for text in page.said if "Content Security Policy" in text]
            assert len(refusals) >= 2
            page.said.clear()
            page.asked[:] = [address for address in page.asked if not address.startswith(url)]
        elsewhere.shutdown()
    assert not hits


def test_two_hundred_runs_load_in_under_two_seconds(
    browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns
) -> None:
    runs = make_runs([f"arm_{number}" for number in range(39)], seeds=5)
    contents = RunsReader(runs).read()
    assert len(contents["stages"]) == 200
    url = file_of(contents)
    with opened(browser, url) as page:
        began = time.monotonic()
        page.reload()
        page.wait_for_selector("body[data-drawn]")
        assert time.monotonic() - began < 2
        for tab in TABS:
            began = time.monotonic()
            show(page, tab)
            assert time.monotonic() - began < 2, tab


def test_a_served_page_follows_a_sweep(browser: Any, make_runs: MakeRuns) -> None:
    runs = make_runs(["blank_copy"], waiting=["curriculum", "direct_copy"])
    run = RunFolder(runs, "copy", "mixer0010")
    write_config(run, 0, "mixer", ["curriculum"], "mixer0")
    lock = Lock(run.lock)
    assert lock.take()
    log(run, 100)
    with serving(runs) as server, opened(browser, server.url) as page:
        page.wait_for_selector("body[data-drawn=stages]")
        assert "1 running, 1 waiting" in page.inner_text("#totals") and "0:50 left" in page.inner_text("#totals")
        assert legend(page) == [run.path.name], "the loss of what runs"
        running = page.locator(".stage.running")
        assert "step 100 of 300, 0:20 left" in running.inner_text()
        below = page.locator("ul .stage", has_text="curriculum").locator("xpath=ancestor::ul/preceding-sibling::button")
        assert "autoencoder" in below.inner_text(), "it stands below the stage that it starts from"
        before = picture(page)
        running.focus()
        for step in (150, 200):
            log(run, step)
        page.wait_for_selector(".stage.running:has-text('step 200 of 300, 0:10 left')", timeout=15_000)
        assert picture(page) != before
        lock.release()
        run.note_failure("out of memory: halve trainer.batch_size")
        page.wait_for_selector(".stage.failed:has-text('out of memory')", timeout=15_000)
        assert "1 failed" in page.inner_text("#totals")
        show(page, "experiments")
        assert page.locator("[aria-label='Arms of copy_curriculum/laptop'] tbody tr").count() == 1
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "served-experiments-1200-light.png")

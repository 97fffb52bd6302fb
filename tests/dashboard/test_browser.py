"""The page in a real Chromium. Screenshots of every tab stay in build/screenshots."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memlab.dashboard.contents import RunsReader, committed_contents
from memlab.dashboard.page import render
from memlab.storage.lock import Lock
from memlab.storage.run_folder import RunFolder
from tests.conftest import ROOT
from tests.dashboard.conftest import MakeRuns, log, serving, write_config, write_runs
from tests.dashboard.test_page import HOSTILE

TABS = ("experiments", "curves", "arms", "reconstructions", "positions", "published", "provenance", "stages")
SCREENSHOTS = ROOT / "build" / "screenshots"
DESKTOP, PHONE = {"width": 1200, "height": 800}, {"width": 360, "height": 740}
# What a tab shows where there are runs. Committed results of older versions lack reconstructions and positions.
SHOWN = {
    "experiments": "td .holds, td .undecided, td .refuted",
    "curves": ".u-legend .u-series:nth-child(3)",
    "arms": ".u-legend .u-series:nth-child(3)",
    "reconstructions": "mark",
    "positions": ".u-legend .u-series:nth-child(3)",
    "published": "td",
    "provenance": "td div",
    "stages": ".graph ul .stage",
}
Open = Callable[..., Any]


@contextmanager
def opened(browser: Any, url: str, size: dict[str, int] = DESKTOP, scheme: str = "light") -> Iterator[Any]:
    """A page of that address. Nothing may be written to its console, and no request may go elsewhere."""
    context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=size is PHONE, reduced_motion="reduce")
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.wait_for_selector("body[data-drawn]")
    page.said, page.asked = said, asked
    yield page
    assert not said
    home = url if url.startswith("file:") else url.rstrip("/")
    assert all(address.startswith(home) for address in asked), asked
    context.close()


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[Any], str]:
    def write(contents: Any) -> str:
        path = tmp_path / "page.html"
        path.write_text(render(contents))
        return path.as_uri()

    return write


def show(page: Any, tab: str) -> None:
    page.click(f"#tab-{tab}")
    page.wait_for_selector(f"body[data-drawn={tab}]")


def picture(page: Any) -> str:
    """What is drawn in the first chart."""
    return str(page.eval_on_selector("canvas", "canvas => canvas.toDataURL()"))


def legend(page: Any) -> list[str]:
    """The names of the lines, without the x axis and the bands."""
    found = page.eval_on_selector_all(
        ".u-legend .u-series:not(.band) .u-label", "labels => labels.map(label => label.textContent)"
    )
    return list(found[1:])


def column(page: Any, table: str, number: int) -> list[str]:
    return list(page.locator(f"[aria-label='{table}'] tbody tr td:nth-child({number})").all_inner_texts())


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")])
@pytest.mark.parametrize("source", ["committed", "runs"])
def test_every_tab_renders(
    browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns, source: str, size: dict[str, int], scheme: str
) -> None:
    committed = source == "committed"
    contents = committed_contents() if committed else RunsReader(make_runs(["blank_copy", "curriculum"], seeds=3)).read()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with opened(browser, file_of(contents), size, scheme) as page:
        if committed:
            page.select_option("#choice-report", "copy_curriculum/laptop")
        for tab in TABS:
            show(page, tab)
            assert page.get_attribute(f"#tab-{tab}", "aria-selected") == "true"
            assert page.locator("[role=tab][aria-selected=true]").count() == 1
            if not committed or tab not in ("reconstructions", "positions"):
                page.wait_for_selector(SHOWN[tab], state="attached")
            else:
                assert "older versions" in page.inner_text("#panel") or "before it was" in page.inner_text("#panel")
            if tab in ("curves", "arms", "stages"):
                drawn = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
                assert page.eval_on_selector("canvas", drawn) > 10, "more than an empty canvas has"
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], "nothing is cut off"
            page.screenshot(path=SCREENSHOTS / f"{source}-{tab}-{size['width']}-{scheme}.png")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert light == (scheme == "light")


def test_axes_smoothing_and_lines_change_the_curves(
    browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns
) -> None:
    contents = RunsReader(make_runs(["blank_copy", "curriculum"], seeds=3)).read()
    with opened(browser, file_of(contents)) as page:
        show(page, "curves")
        assert legend(page) == ["blank copy", "curriculum: blank copy, then copy"]
        pictures = [picture(page)]
        axis = ".u-legend .u-series:first-child .u-label"
        for cost in ("tokens", "seconds"):
            page.check(f"#choice-cost-{cost}")
            assert page.inner_text(axis) == f"{cost} of the decoder's stages"
            pictures.append(picture(page))
        page.check("#choice-kind-train")
        pictures.append(picture(page))
        page.fill("#choice-smoothing", "0.9")
        pictures.append(picture(page))
        page.check("#choice-log")
        pictures.append(picture(page))
        page.select_option("#choice-metric", "cross_entropy")
        pictures.append(picture(page))
        page.check("#choice-lines-each")
        pictures.append(picture(page))
        assert len(legend(page)) == 6 and legend(page)[0] == "blank copy, seed 0"
        assert len({*pictures}) == len(pictures), "each of them changed the picture"


def test_the_legend_and_the_zoom_work_by_mouse_and_by_keyboard(
    browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns
) -> None:
    contents = RunsReader(make_runs(["blank_copy", "curriculum"], seeds=3)).read()
    with opened(browser, file_of(contents)) as page:
        show(page, "curves")
        label = page.locator(".u-legend th[role=button]").first
        before = picture(page)
        label.click()
        assert label.get_attribute("aria-pressed") == "false" and picture(page) != before
        label.press("Enter")
        assert label.get_attribute("aria-pressed") == "true"
        label.press(" ")
        page.check("#choice-cost-tokens")
        page.check("#choice-cost-steps")
        assert page.locator(".u-legend th[role=button]").first.get_attribute("aria-pressed") == "false", "kept"
        zoom = "zooms['curves copy_curriculum/laptop steps'] ?? null"
        assert page.evaluate(zoom) is None
        page.locator("[aria-label='Zoom in']").press("Enter")
        assert page.evaluate(zoom) == pytest.approx([112.5, 237.5]), "half of 50 to 300"
        page.locator("[aria-label='Later']").press("Enter")
        assert page.evaluate(zoom) == pytest.approx([143.75, 268.75])
        page.locator("[aria-label='Show the whole curve']").press("Enter")
        assert page.evaluate(zoom) is None
        box = page.locator(".u-over").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=5)
        page.mouse.up()
        assert page.evaluate(zoom) == pytest.approx([100, 200], abs=3)
        page.mouse.dblclick(box["x"] + 100, box["y"] + 100)
        assert page.evaluate(zoom) is None


def test_tables_sort_by_mouse_and_by_keyboard(browser: Any, file_of: Callable[[Any], str]) -> None:
    table = "Experiments: how many claims have which verdict"
    with opened(browser, file_of(committed_contents())) as page:
        points = [int(text) for text in column(page, table, 8)]
        head = page.locator(f"[aria-label='{table}'] thead th").nth(7)
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert [int(text) for text in column(page, table, 8)] == sorted(points) != points
        head.locator("button").press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        assert [int(text) for text in column(page, table, 8)] == sorted(points, reverse=True)
        # Cells without a value come last both ways, and numbers are not sorted as words.
        ordered = "inOrder(['9', '-', '10', '< 0.5', 'b', 'a', '1,000', '-3 [-4, 5]'].map(t => ({cells: [{textContent: t}]})), 0, WAY)"
        texts = f"{ordered}.map(row => row.cells[0].textContent)"
        assert page.evaluate(texts.replace("WAY", "1")) == ["-3 [-4, 5]", "< 0.5", "9", "10", "1,000", "a", "b", "-"]
        assert page.evaluate(texts.replace("WAY", "-1")) == ["1,000", "10", "9", "< 0.5", "-3 [-4, 5]", "b", "a", "-"]


def test_tabs_and_numbers_work_by_keyboard(browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns) -> None:
    contents = RunsReader(make_runs(["blank_copy", "curriculum"], seeds=3)).read()
    with opened(browser, file_of(contents)) as page:
        page.keyboard.press("Tab")
        for key, tab in (("ArrowRight", "curves"), ("End", "stages"), ("ArrowRight", "experiments"), ("ArrowLeft", "stages")):
            page.keyboard.press(key)
            page.wait_for_selector(f"body[data-drawn={tab}]")
            assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
            assert page.url.endswith(f"#{tab}")
        show(page, "experiments")
        page.locator("[title='Where this number comes from']").last.press("Enter")
        page.wait_for_selector("body[data-drawn=provenance]")
        rows = column(page, "Rows of copy_curriculum/laptop", 2)
        assert rows == ["curriculum"] * 3
        stages = column(page, "Rows of copy_curriculum/laptop", 8)
        assert "copy-mixer0010 @ abc123" in stages[0] and "autoencoder-mixer0 @ abc123" in stages[0]


def test_two_arms_stand_side_by_side(browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns) -> None:
    contents = RunsReader(make_runs(["blank_copy", "curriculum"], seeds=3)).read()
    with opened(browser, file_of(contents)) as page:
        show(page, "arms")
        table = "Means over seeds, with the least and the greatest"
        assert column(page, table, 1)[0] == "token accuracy (%)"
        assert [column(page, table, number)[0] for number in (2, 3, 4)] == ["30.0 (30.0 to 30.0)", "40.0 (40.0 to 40.0)", "-10.0"]
        page.select_option("#choice-right", "blank_copy, mixer")
        assert column(page, table, 4)[0] == "+0.0"


def test_wrong_tokens_are_marked(browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns) -> None:
    old = {"text": "a cat sat", "regenerated": "a hat sat"}
    runs = make_runs(["blank_copy"], samples=[*([old] * 1)])
    write_runs(runs, ["curriculum"], architecture="transformer")
    contents = RunsReader(runs).read()
    with opened(browser, file_of(contents)) as page:
        show(page, "reconstructions")
        page.select_option("#choice-first", "copy-transformer0000")
        assert page.locator(".sample mark").all_inner_texts() == ["g"]
        assert "1 of 6 tokens wrong" in page.inner_text(".sample")
        page.select_option("#choice-second", "copy-mixer0000")
        assert page.locator(".sample mark").all_inner_texts() == ["g", "h"]
        assert "compared by letters" in page.inner_text(".sample")


def test_text_from_data_is_shown_as_text(browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns) -> None:
    runs = make_runs([HOSTILE, "blank_copy"], samples=[{"text": HOSTILE, "regenerated": f"{HOSTILE}?"}])
    run = RunFolder(runs, "copy", "broken")
    write_config(run, 0, HOSTILE, [HOSTILE])
    run.note_failure(HOSTILE)
    contents = {**RunsReader(runs).read(), "source": HOSTILE, "problems": [HOSTILE]}
    for text in ("title", "headline", "command"):
        contents["reports"][0][text] = HOSTILE
    contents["reports"][0]["context"] = [{key: HOSTILE for key in ("text", "metric", "value", "source")}]
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
            assert page.evaluate(f"fetch('{url}', {{mode: 'no-cors'}}).then(() => 'sent', () => 'refused')") == "refused"
            load = f"new Promise(end => {{const i = new Image(); i.onload = i.onerror = e => end(e.type); i.src = '{url}';}})"
            assert page.evaluate(load) == "error"
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

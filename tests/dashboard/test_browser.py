"""The page in a real Chromium. Screenshots of every tab stay in build/screenshots."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memlab.dashboard.contents import RunsReader, committed_contents
from tests.conftest import ROOT
from tests.dashboard.browsing import DESKTOP, PHONE, SCREENSHOTS, TABS, column, legend, opened, picture, show
from tests.dashboard.conftest import MakeRuns, write_runs
from tests.dashboard.pictures import SIZES, take

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
    "workspace": ".panels li .axis",
}
# The number of pixels that are not grey.
COLOURED = """canvas => {
    const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let at = 0; at < bytes.length; at += 4) {
        const [r, g, b] = bytes.slice(at, at + 3);
        if (Math.max(r, g, b) - Math.min(r, g, b) > 60) count += 1;
    }
    return count;
}"""


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")])
@pytest.mark.parametrize("source", ["committed", "runs"])
def test_every_tab_renders(
    browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns, source: str, size: dict[str, int], scheme: str
) -> None:
    committed = source == "committed"
    contents = (
        committed_contents() if committed else RunsReader(make_runs(["blank_copy", "curriculum"], seeds=3)).read()
    )
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with opened(browser, file_of(contents), size, scheme) as page:
        if committed:
            page.select_option("#choice-report", "copy_curriculum/laptop")
        for tab in TABS:
            show(page, tab)
            assert page.get_attribute(f"#tab-{tab}", "aria-selected") == "true"
            assert page.locator("[role=tab][aria-selected=true]").count() == 1
            page.wait_for_selector(SHOWN[tab], state="attached")
            if tab in ("curves", "arms"):
                assert page.eval_on_selector("canvas", COLOURED) > 100, "axes are grey, lines are not"
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
        cells = "['9', '-', '10', '< 0.5', 'b', 'a', '1,000', '-3 [-4, 5]'].map(t => ({cells: [{textContent: t}]}))"
        ordered = f"inOrder({cells}, 0, WAY)"
        texts = f"{ordered}.map(row => row.cells[0].textContent)"
        assert page.evaluate(texts.replace("WAY", "1")) == ["-3 [-4, 5]", "< 0.5", "9", "10", "1,000", "a", "b", "-"]
        assert page.evaluate(texts.replace("WAY", "-1")) == ["1,000", "10", "9", "< 0.5", "-3 [-4, 5]", "b", "a", "-"]


def test_tabs_and_numbers_work_by_keyboard(browser: Any, file_of: Callable[[Any], str], make_runs: MakeRuns) -> None:
    contents = RunsReader(make_runs(["blank_copy", "curriculum"], seeds=3)).read()
    with opened(browser, file_of(contents)) as page:
        page.keyboard.press("Tab")
        for key, tab in (
            ("ArrowRight", "curves"),
            ("End", "workspace"),
            ("ArrowRight", "experiments"),
            ("ArrowLeft", "workspace"),
        ):
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
        assert [column(page, table, number)[0] for number in (2, 3, 4)] == [
            "30.0 (30.0 to 30.0)",
            "40.0 (40.0 to 40.0)",
            "-10.0",
        ]
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


def test_the_workspace_shows_saved_views_and_reports(browser: Any, file_of: Callable[[Any], str]) -> None:
    with opened(browser, file_of(committed_contents())) as page:
        show(page, "workspace")
        assert "token accuracy" in page.inner_text(".panels li") and "against step" in page.inner_text(".panels li")
        page.select_option("#choice-saved", "memlab: speed")
        assert page.locator(".panels li").first.inner_text().split("\n") == [
            "tokens per second", "speed/tokens_per_second", "against seconds",
        ]  # fmt: skip
        assert "grouped by group" in page.inner_text("#panel")
        assert "memlab: copy_curriculum" in column(page, "Which view has which charts", 1)
        reports = column(page, "Which report has which sections", 1)
        assert "memlab: copy" in reports
        sections = column(page, "Which report has which sections", 2)[reports.index("memlab: copy")]
        assert "Claims; " in sections and sections.endswith("Training")


def test_the_pictures_of_the_documentation_can_be_taken_again(browser: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        taken = take(browser, tmp_path / name)
        assert {path.name: png_size(path) for path in taken} == {
            name: (size["width"], size["height"]) for name, size in SIZES.items()
        }
    for path in taken:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes(), "equal results give equal pictures"
        assert png_size(ROOT / "docs" / path.name) == png_size(path)


def png_size(path: Path) -> tuple[int, int]:
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return width, height

"""What the tests do with a page in the browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import ROOT

TABS = ("experiments", "curves", "arms", "reconstructions", "positions", "published", "provenance", "stages")
TABS += ("workspace",)
SCREENSHOTS = ROOT / "build" / "screenshots"
DESKTOP, PHONE = {"width": 1200, "height": 800}, {"width": 360, "height": 740}


@contextmanager
def opened(
    browser: Any, url: str, size: dict[str, int] = DESKTOP, scheme: str = "light", timezone: str | None = None
) -> Iterator[Any]:
    """A page of that address. Nothing may be written to its console, and no request may go elsewhere."""
    context = browser.new_context(
        viewport=size,
        color_scheme=scheme,
        has_touch=size is PHONE,
        reduced_motion="reduce",
        locale="en-US",
        timezone_id=timezone,
    )
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

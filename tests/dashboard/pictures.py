"""Take the pictures of the documentation again: `make pictures`, once new results are published.

  docs/page.png        the page over the committed results: the curves of the main experiment
  docs/workspace.png   the page's tab Workspace: a saved view of Weights & Biases

Equal results give equal pictures: their size, their language and their time, which is that of the last commit of
results, are fixed.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from memlab.dashboard.contents import committed_contents
from memlab.dashboard.page import render
from tests.conftest import ROOT
from tests.dashboard.browsing import opened, show
from tests.dashboard.conftest import CHROMIUM

PAGE, WORKSPACE = "page.png", "workspace.png"
SIZES = {PAGE: {"width": 1200, "height": 880}, WORKSPACE: {"width": 1200, "height": 1000}}
MAIN = "copy_curriculum/laptop"
STAGES = "memlab: the curriculum's stages"


def main() -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        for path in take(browser, ROOT / "docs"):
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        browser.close()


def take(browser: Any, folder: Path) -> list[Path]:
    """Write the pictures into a folder; return their paths."""
    contents = {**committed_contents(), "made": _time_of_results()}
    with tempfile.TemporaryDirectory() as temporary:
        page = Path(temporary) / "page.html"
        page.write_text(render(contents), encoding="utf-8")
        with opened(browser, page.as_uri(), SIZES[PAGE], timezone="UTC") as tab:
            tab.select_option("#choice-report", MAIN)
            show(tab, "curves")
            tab.screenshot(path=folder / PAGE)
        with opened(browser, page.as_uri(), SIZES[WORKSPACE], timezone="UTC") as tab:
            show(tab, "workspace")
            tab.select_option("#choice-saved", STAGES)
            tab.screenshot(path=folder / WORKSPACE)
    return [folder / PAGE, folder / WORKSPACE]


def _time_of_results() -> str:
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%cI", "--", ":(glob)experiments/*/results/**"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()

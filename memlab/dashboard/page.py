"""The HTML file: the files of page/ and vendor/ with the contents inside, and a policy that forbids everything else."""

import base64
import hashlib
from html import escape
from pathlib import Path

from memlab.dashboard.contents import Contents, as_json, in_html

HERE = Path(__file__).parent
VENDORED = HERE / "vendor" / "uplot"
STYLES = (VENDORED / "uPlot.min.css", HERE / "page" / "style.css")
# One script, in this order: each file uses what stands in the files before it.
OWN: tuple[str, ...] = ("elements", "numbers", "table", "curves", "chart", "controls", "experiments", "training")
OWN += ("arms", "reconstructions", "positions", "published", "provenance", "stages", "workspace", "main")
SCRIPTS = (VENDORED / "uPlot.iife.min.js", *(HERE / "page" / f"{name}.js" for name in OWN))


def render(contents: Contents, live: bool = False) -> str:
    """Return the page as HTML. live: it asks the server that it came from for new contents, at data.json."""
    style, script = (_joined(files) for files in (STYLES, SCRIPTS))
    template = (HERE / "page" / "page.html").read_text(encoding="utf-8")
    values = {
        "POLICY": _policy(style, script, live),
        "TITLE": escape(f"memlab: {contents['source']}"),
        "STYLE": style,
        "LIVE": "live" if live else "still",
        "CONTENTS": in_html(as_json(contents)),
        "SCRIPT": script,
    }
    # In one pass: what is put in may itself read like a place to fill.
    parts = template.split("%%")
    return "".join(values[part] if place % 2 else part for place, part in enumerate(parts))


def _joined(files: tuple[Path, ...]) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _policy(style: str, script: str, live: bool) -> str:
    """Return the Content-Security-Policy: this style and this script alone, and requests to its own server if live."""
    rules = (
        "default-src 'none'",
        f"style-src '{_digest(style)}'",
        f"script-src '{_digest(script)}'",
        "connect-src 'self'" if live else "connect-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(rules)


def _digest(text: str) -> str:
    """Return the hash by which a browser knows an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

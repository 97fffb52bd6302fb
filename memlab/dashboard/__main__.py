"""Look at results in a browser.

  python -m memlab.dashboard --out page.html                   one file over the runs folder
  python -m memlab.dashboard --out page.html --from-results    over the results that came with the code
  python -m memlab.dashboard --serve                           follow a running sweep
  python -m memlab.dashboard wandb --help                      views and reports of Weights & Biases

The file needs no network and can be sent to others. Exit status: 0, or 2 for a mistake.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from memlab.dashboard import wandb_views
from memlab.dashboard.contents import Contents, RunsReader, committed_contents
from memlab.dashboard.page import render
from memlab.dashboard.serve import Server
from memlab.errors import fail
from memlab.progress import console
from memlab.storage.files import write_atomic

PORT = 8765


def main() -> None:
    if sys.argv[1:2] == ["wandb"]:
        wandb_views.main(sys.argv[2:])
        return
    parser = _parser()
    options = parser.parse_args()
    try:
        read = committed_contents if options.from_results else RunsReader(options.runs_dir).read
        if options.out is not None:
            _write(read(), options.out)
        else:
            _serve(read, options.host, options.port)
    except Exception as error:
        fail(error, 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m memlab.dashboard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--out", type=Path, metavar="FILE", help="write the page into this file")
    kind.add_argument("--serve", action="store_true", help="serve the page; it follows what is running")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--from-results", action="store_true", help="show experiments/*/results instead of runs")
    default = os.environ.get("MEMLAB_RUNS") or "runs"
    source.add_argument(
        "--runs-dir", type=lambda path: Path(path).expanduser(), default=default, help="default: MEMLAB_RUNS, or runs"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="of --serve; default: this machine alone. Nothing asks for a password"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"of --serve; default: {PORT}; 0: any free one")
    return parser


def _write(contents: Contents, path: Path) -> None:
    page = render(contents).encode()
    write_atomic(path, page)
    for problem in contents["problems"]:
        console.print(f"left out: {problem}", markup=False)
    console.print(
        f"page: {os.path.relpath(path)} ({len(page) / 1e6:.1f} MB; {len(contents['reports'])} reports,"
        f" {len(contents['stages'])} stages)",
        markup=False,
    )


def _serve(read: Callable[[], Contents], host: str, port: int) -> None:
    with Server(read, host, port) as server:
        server.current.look()  # a mistake ends the command before anything is served
        console.print(f"page: {server.url} (Ctrl-C ends it)", markup=False)
        if not server.local:
            console.print("everybody who reaches this machine can see it", markup=False)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("ended", markup=False)


if __name__ == "__main__":
    main()

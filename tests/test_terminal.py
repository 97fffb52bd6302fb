"""What a sweep shows on a terminal, and where there is none."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from io import StringIO

import pytest
from rich.console import Console

from memlab.config import paths
from memlab.report.terminal import COLOURS, print_report
from memlab.report.verdict import HOLDS, REFUTED, UNDECIDED
from memlab.report.write import read_committed

SWEEP = """
import time
from memlab import progress
progress.LINE_EVERY = 0.0
with progress.Bars() as bars:
    stages = [bars.bar(name, 100) for name in ("autoencoder-1a2b", "copy-3c4d")]
    for done in (10, 50, 90):
        time.sleep(0.3)
        for stage in stages:
            stage.update(done, "loss 1.23")
"""


def shown_on_a_terminal(code: str, environment: dict[str, str]) -> str:
    """Run code whose output is a terminal; return all that was sent to it."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, stdin=theirs, env={**environment, "TERM": "xterm"}
    )
    os.close(theirs)
    found, end = b"", time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                more = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            found += more
    assert process.wait(timeout=60) == 0, found.decode()
    os.close(ours)
    return found.decode()


def test_stages_are_a_table_that_is_drawn_anew_on_a_terminal(environment: dict[str, str]) -> None:
    text = shown_on_a_terminal(SWEEP, environment)
    assert re.search(r"\x1b\[\d*A", text), "the cursor moves up to draw the table again"
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    for stage in ("autoencoder-1a2b", "copy-3c4d"):
        assert len(re.findall(rf"{stage}[^\n\r]* 90%  0:0\d gone, 0:0\d left  loss 1.23", last)) >= 1, last


def test_without_a_terminal_there_are_plain_lines(environment: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", SWEEP], env=environment, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout and "\r" not in done.stdout
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[-1].startswith("autoencoder-1a2b 90% ") and "; copy-3c4d 90% " in lines[-1]


@pytest.mark.parametrize("terminal", [True, False])
def test_claims_are_in_plain_words_and_in_the_colour_of_their_verdict(terminal: bool) -> None:
    report = read_committed("copy_curriculum", "laptop", paths.experiments() / "copy_curriculum")
    console = Console(
        file=StringIO(), force_terminal=terminal, color_system="standard" if terminal else None, width=200
    )
    print_report(report, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    codes = {"green": 32, "red": 31, "yellow": 33}
    verdicts = {claim["verdict"] for claim in report.claims} & {HOLDS, REFUTED, UNDECIDED}
    assert HOLDS in verdicts and len(verdicts) > 1
    for verdict in verdicts:
        if terminal:
            assert f"\x1b[{codes[COLOURS[verdict]]}m{verdict}" in text
        else:
            assert f"  {verdict} " in text
    assert ("\x1b" in text) == terminal
    for claim in report.claims:
        assert claim["text"][:60] in text
    assert re.search(r"mixer: curriculum [\d.]+ against blank copy [\d.]+: .* points, needed .*; 5 seeds", text)

"""What memlab prints can be printed on every terminal."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
from rich.table import Table
from memlab.progress import Bars, console
table = Table("größe", title="a → b")
table.add_row("± 文")
console.print(table)
console.rule("1 of 2: ä", align="left")
console.print("of a file name: \\udcff", markup=False)
print("plain ± 文")
with Bars() as bars:
    bar = bars.bar("é", 10)
    bars._next_line = 0
    bar.update(5, "ß")
"""
# Python takes LANG=C for UTF-8 unless it is told not to, as an older system's settings tell it.
LANG_C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def printed(**environment: str) -> bytes:
    clean = {name: value for name, value in os.environ.items() if name != "LANG" and not name.startswith("LC_")}
    command = [sys.executable, "-c", f"exec({SCRIPT!a})"]
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("environment", [LANG_C, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}])
def test_a_terminal_that_is_not_utf_8_gets_what_it_can_print(environment: dict[str, str]) -> None:
    text = printed(**environment).decode(environment.get("PYTHONIOENCODING", "ascii"))
    for line in ("a ? b", "1 of 2: ", "of a file name: ?", "plain ", "50%"):
        assert line in text
    assert "┃" not in text and "+" in text, "tables are drawn in ASCII"


def test_a_terminal_that_is_utf_8_gets_everything() -> None:
    text = printed(PYTHONIOENCODING="utf-8").decode()
    for line in ("a → b", "± 文", "of a file name: ?", "plain ± 文", "┃"):
        assert line in text


def test_an_error_handler_of_the_user_s_stays() -> None:
    assert b"plain \\xb1" in printed(PYTHONIOENCODING="ascii:backslashreplace")


def test_closed_output_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -c 'from memlab.progress import console; console.print(3)' >&- 2>&-",
        shell=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0

"""Output: a console for every terminal, progress bars on a terminal, a plain line now and then in a log file."""

import io
import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text


def _replace_unprintable() -> None:
    """Let standard output print "?" for a character that it cannot encode, instead of raising UnicodeEncodeError.

    This happens with LANG=C, with PYTHONIOENCODING=ascii, and for file names that are not valid text. Standard error
    escapes such characters by default, and rich draws its tables and bars in ASCII where it has to.
    """
    stream = sys.stdout  # None where it was closed
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="replace")


_replace_unprintable()
console = Console(highlight=False, soft_wrap=True)
if not console.is_terminal:
    console = Console(highlight=False, soft_wrap=True, width=140)  # a log file has room for wide tables
LINE_EVERY = 15.0  # seconds between two lines of progress where there is no terminal


def duration(seconds: float) -> str:
    """Format seconds: 4 -> 0:04, 3725 -> 1:02:05."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 72:
        return f"{hours // 24:,} days"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


_report: Callable[["Bar"], None] | None = None
_pass_on: Callable[[str, str], None] | None = None
_said: set[str] = set()


def report_to(report: Callable[["Bar"], None], pass_on: Callable[[str, str], None]) -> None:
    """Show nothing here: pass every bar that moves to `report`, and what is said once to `pass_on`."""
    global _report, _pass_on
    _report, _pass_on = report, pass_on


def say_once(topic: str, text: str) -> None:
    """Print a line, unless this command or one of its workers has said something on that topic already."""
    if topic in _said:
        return
    _said.add(topic)
    if _pass_on is not None:
        _pass_on(topic, text)
    else:
        console.print(text, markup=False)


class Bar:
    """One line of a `Bars`. `update(done, note)` moves it; the time left is estimated from the pace so far."""

    def __init__(self, owner: "Bars", name: str, total: float, done: float, elapsed: float) -> None:
        self._owner = owner
        self.task: TaskID | None = None
        self.start_again(name, total, done, elapsed)

    def start_again(self, name: str, total: float, done: float = 0.0, elapsed: float = 0.0) -> None:
        """Show something else from now on."""
        self.name = name
        self.total = total
        self.done = done
        self.first = done
        self._started = time.monotonic() - elapsed
        self._elapsed_before = elapsed
        self.note = ""

    def update(self, done: float, note: str = "") -> None:
        self.done, self.note = done, note
        self._owner.refresh(self)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    @property
    def left(self) -> str:
        """The time left at the pace so far; "?" before there is one."""
        first = 0.0 if self._elapsed_before else self.first
        if self.done <= first:
            return "?"
        return duration(self.elapsed * (self.total - self.done) / (self.done - first))

    @property
    def text(self) -> str:
        share = self.done / self.total if self.total else 1.0
        return f"{share:4.0%}  {duration(self.elapsed)} gone, {self.left} left  {self.note}"


class Bars:
    """Several bars, shown together during a `with` block, but not in its first `after` seconds."""

    def __init__(self, after: float = 0.0) -> None:
        self._bars: list[Bar] = []
        self._show_at = time.monotonic() + after
        self._next_line = self._show_at + (0.0 if after else LINE_EVERY)
        self._live: Progress | None = None

    def bar(self, name: str, total: float, done: float = 0.0, elapsed: float = 0.0) -> Bar:
        """Add a bar. elapsed: seconds that `done` has taken so far; 0: unknown, so that the pace counts from now on."""
        bar = Bar(self, name, total, done, elapsed)
        self._bars.append(bar)
        return bar

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def refresh(self, changed: Bar) -> None:
        """Show a bar that has changed."""
        if _report is not None:
            _report(changed)
            return
        now = time.monotonic()
        if now < self._show_at:
            return
        if console.is_terminal:
            if self._live is None:
                self._live = Progress(
                    TextColumn("{task.description}"), BarColumn(24), _Note(), console=console, transient=True
                )
                for bar in self._bars:
                    bar.task = self._live.add_task(bar.name, total=bar.total)
                self._live.start()
            assert changed.task is not None
            self._live.update(
                changed.task, description=changed.name, total=changed.total, completed=changed.done, note=changed.text
            )
        elif now >= self._next_line:
            self._next_line = now + LINE_EVERY
            console.print("; ".join(f"{bar.name} {' '.join(bar.text.split())}" for bar in self._bars), markup=False)


class _Note(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: object) -> Text:
        return Text(getattr(task, "fields", {}).get("note", ""))

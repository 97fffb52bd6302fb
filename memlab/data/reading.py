"""What reading files came across: counted, so that a line can say what was read and what was left out, and why."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

NAMES = 3  # names of files in the line, of each kind
KINDS = 8  # suffixes in the line, of each reason
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")


@dataclass
class Reading:
    """Counts of one pass over files.

    read: files by suffix; left_out: reason -> files; without_text: rows whose text is null or empty; replaced: file ->
    characters that stand for bytes that were not UTF-8.
    """

    read: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, list[Path]] = field(default_factory=dict)
    without_text: int = 0
    replaced: Counter[Path] = field(default_factory=Counter)

    def sentences(self) -> list[str]:
        """Return what was read, what was left out, what was replaced: a sentence each, where there is something."""
        found = [f"Read {_counted(self.read)}."] if self.read else []
        found += [f"Left out, {reason}: {_by_suffix(files)}." for reason, files in self.left_out.items() if files]
        if self.without_text:
            found.append(f"Left out, null or empty: {_number(self.without_text, 'row')}.")
        if self.replaced:
            count = _number(sum(self.replaced.values()), "place")
            found.append(f"Replaced {count} that were not UTF-8 in {_names(list(self.replaced))}.")
        return found


def suffix_of(path: Path) -> str:
    """Return a file's suffix in lower case, with that of its compression: .jsonl.gz. Empty if there is none."""
    *before, last = ["", *map(str.lower, path.suffixes)]
    return before[-1] + last if before and last in COMPRESSIONS else last


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path that can be printed: bytes that are no UTF-8 appear as escapes."""
    return os.fspath(path).encode(errors="surrogateescape").decode(errors="backslashreplace")


def size(number: int) -> str:
    """1234567 -> 1.2 MB."""
    for unit, least in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= least:
            return f"{number / least:.1f} {unit}"
    return _number(number, "byte")


def _by_suffix(files: Iterable[Path]) -> str:
    kinds: dict[str, list[Path]] = {}
    for path in files:
        kinds.setdefault(suffix_of(path) or "without suffix", []).append(path)
    parts = [f"{len(paths)} {kind} ({_names(paths)})" for kind, paths in sorted(kinds.items())]
    more = [f"{len(parts) - KINDS} more kinds"] if len(parts) > KINDS else []
    return ", ".join(parts[:KINDS] + more)


def _names(paths: list[Path]) -> str:
    names = [shown(path.name) for path in paths[:NAMES]]
    return ", ".join(names) + (", ..." if len(paths) > NAMES else "")


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")

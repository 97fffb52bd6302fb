"""Draw memlab's rooms and which imports which: python -m tests.import_graph.

A room is a package or a module directly under memlab/. Imports run downwards: a room imports rooms of lower floors or
of its own floor. The exit status is 1 if an import runs upwards, if rooms import each other in a circle, or if one
imports more than ONLY allows.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
# From the ground up. A room that is not here has no place yet: give it one.
FLOORS = (
    ("errors", "progress"),
    ("storage", "processes"),
    ("data",),
    ("config",),
    ("models",),
    ("objectives", "pretrained"),
    ("measures",),
    ("training",),
    ("pool",),
    ("report",),
    ("use",),
    ("harness",),
    ("runs",),
    ("dashboard",),
    ("bench",),
    ("launchers", "sweep", "run", "reproduce"),
    ("studies",),  # on top, so that nothing imports it
)
# What may import less than its floor allows. Reports are made from run folders alone, without models and without Hydra;
# the command that asks for one composes its sweep. The page shows reports and run folders.
_REPORT = ("errors", "progress", "storage", "config.paths")
ONLY = {
    "report": _REPORT,
    "report.__main__": (*_REPORT, "config", "processes"),
    "dashboard": (*_REPORT, "report", "runs.state"),
}


@dataclass(frozen=True, order=True)
class Import:
    """One import of a module of memlab; `source` and `target` are dotted names below memlab, `line` is its place."""

    source: str
    target: str
    line: int

    @property
    def rooms(self) -> tuple[str, str]:
        return room(self.source), room(self.target)

    def __str__(self) -> str:
        return f"{self.source} imports {self.target} (line {self.line})"


def room(module: str) -> str:
    return module.partition(".")[0]


def imports(root: Path) -> list[Import]:
    """Return every import from one room of the package root/memlab to another, wherever in a file it stands."""
    files = _modules(root / "memlab")
    found = {
        Import(source, target, line) for source, path in files.items() for target, line in _imported(path, set(files))
    }
    return sorted(one for one in found if one.rooms[0] != one.rooms[1])


def arrows(found: list[Import]) -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    graph: dict[str, set[str]] = {}
    for one in found:
        source, target = one.rooms
        graph.setdefault(source, set()).add(target)
        graph.setdefault(target, set())
    return graph


def problems(found: list[Import]) -> list[str]:
    """Return messages on rooms without a floor, imports that run upwards, imports beyond ONLY, and circles of rooms."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    unknown = sorted({name for one in found for name in one.rooms} - {*floor})
    known = [one for one in found if not {*one.rooms} & {*unknown}]
    upwards = [one for one in known if floor[one.rooms[0]] < floor[one.rooms[1]]]
    beyond = [one for one in known if not _allowed(one) and one not in upwards]
    return [
        *(f"{name} has no floor in tests/import_graph.py" for name in unknown),
        *(f"{one}: upwards" for one in upwards),
        *(f"{one}: it may import {', '.join(_limit(one) or ())}" for one in beyond),
        *(f"{' -> '.join(circle)}: a circle" for circle in _circles(arrows(found))),
    ]


def _limit(one: Import) -> tuple[str, ...] | None:
    return ONLY.get(one.source, ONLY.get(one.rooms[0]))


def _allowed(one: Import) -> bool:
    limit = _limit(one)
    return limit is None or any(one.target == name or one.target.startswith(f"{name}.") for name in limit)


def _modules(package: Path) -> dict[str, Path]:
    """Return a package's files by dotted name below it: `storage.lock`; an __init__.py has the name of its folder."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found.pop("", None)  # memlab/__init__.py itself
    return found


def _imported(path: Path, modules: set[str]) -> Iterator[tuple[str, int]]:
    """Yield the modules of memlab that a file imports, and the line of each import."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}, line {node.lineno}: write the whole name of what is imported"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            target = name.removeprefix("memlab.") if name.startswith("memlab.") else ""
            if target not in modules:
                target = target.rpartition(".")[0]  # something that a module defines
            if target in modules:
                yield target, node.lineno


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return circles of rooms, one for each arrow that closes one in a walk along all arrows."""
    found, done = [], set()

    def walk(name: str, way: list[str]) -> None:
        if name in way:
            found.append([*way[way.index(name) :], name])
        elif name not in done:
            for target in sorted(graph[name]):
                walk(target, [*way, name])
            done.add(name)

    for name in sorted(graph):
        walk(name, [])
    return found


def draw(root: Path) -> str:
    """Return the rooms from the top floor down, with their lines of code and what they import; then the totals."""
    graph = arrows(imports(root))
    lines: dict[str, int] = {}
    for module, path in _modules(root / "memlab").items():
        lines[room(module)] = lines.get(room(module), 0) + len(path.read_text(encoding="utf-8").splitlines())
    order = [name for names in FLOORS for name in names]
    rows = [
        f"{number:>2}  {name:<10} {lines[name]:>5} lines  {', '.join(sorted(graph.get(name, ()), key=order.index))}"
        for number, names in reversed(list(enumerate(FLOORS)))
        for name in names
        if name in lines
    ]
    count = sum(map(len, graph.values()))
    return "\n".join([*rows, f"{len(lines)} rooms, {count} arrows, {sum(lines.values()):,} lines"])


if __name__ == "__main__":
    wrong = problems(imports(ROOT))
    print("\n".join([draw(ROOT), *wrong]))
    raise SystemExit(bool(wrong))

"""A text beside what came back of it, in the terminal: wrong tokens in red, or between >< where there is no colour."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memlab.data.pieces import GIVEN, WRONG, Piece
from memlab.use.retention import Retention

STYLES = {WRONG: "bold red", GIVEN: "dim"}


def show_retention(retention: Retention, console: Console) -> None:
    """Print a row for each chunk: what stood there, what came back, the share of generated tokens that is right."""
    plain = not console.is_terminal or console.no_color
    table = Table("chunk", "input", "came back", box=None, padding=(0, 2, 0, 0))
    for number, pieces in enumerate(retention.chunks):
        there = Text(_printable("".join(piece.text for piece in pieces)))
        table.add_row(str(number), there, _marked(pieces, plain))
    console.print(table)
    wrong = ">between these marks<" if plain else "[bold red]red[/]"
    given = any(piece.mark == GIVEN for pieces in retention.chunks for piece in pieces)
    note = "" if not given else ("; a chunk's first token is given" if plain else "; [dim]dim[/]: given to the model")
    console.print(f"{retention.accuracy:.1%} of the generated tokens are right; wrong: {wrong}{note}")


def _marked(pieces: Iterable[Piece], plain: bool) -> Text:
    text = Text()
    for piece in pieces:
        returned = _printable(piece.returned)
        if plain:
            text.append(f">{returned}<" if piece.mark == WRONG else returned)
        else:
            text.append(returned, STYLES.get(piece.mark, ""))
    return text


def _printable(text: str) -> str:
    """Show line ends and other control characters by their escapes: a table keeps one line per chunk."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)

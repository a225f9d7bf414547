"""Tables as docker prints them: Go's tabwriter, columns three blanks apart; short ids; text cut with an ellipsis."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GAP = 3
# The least width of a column, its gap included.
_LEAST = 10


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows, the header first, as aligned text. The last column is not padded."""
    lines = [[one_line(cell) for cell in row] for row in rows]
    if not lines:
        return ""
    widths = [max(_LEAST, max(width(line[i]) for line in lines) + _GAP) for i in range(len(lines[0]) - 1)] if len(lines[0]) > 1 else []
    out = []
    for line in lines:
        padded = [cell + " " * (size - width(cell)) for cell, size in zip(line, widths)]
        out.append("".join(padded) + line[-1])
    return "\n".join(out) + "\n"


def one_line(cell: str) -> str:
    """Text that nobody vouches for, without line feeds and control sequences."""
    return cell if cell.isprintable() else "".join(c if c.isprintable() or c == " " else "?" for c in cell)


def width(text: str) -> int:
    """Columns of a terminal that `text` takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def short_id(text: str) -> str:
    return text.removeprefix("sha256:")[:12]


def ellipsis(text: str, most: int) -> str:
    """At most `most` columns of a terminal, the last an ellipsis where something was cut (docker/cli, formatter.Ellipsis)."""
    if width(text) <= most:
        return text
    if text.isascii():
        return text[: most - 1] + "…"
    kept, room = "", most - 1
    for character in text:
        room -= width(character)
        if room < 0:
            break
        kept += character
    return kept + "…"

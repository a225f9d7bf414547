"""The text of a Dockerfile with a name, and errors that show the lines they are about, in BuildKit's form."""

from __future__ import annotations

from wherry.errors import BuildError
from wherry.model.record import Record

# A file of more than this is no Dockerfile; BuildKit's own limit is below it.
MAX_BYTES = 16 << 20
_CONTEXT_LINES = 2


class Span(Record):
    """Lines `first` to `last`, counted from 1, both in it."""

    first: int
    last: int


class Source(Record):
    """`name` is what errors call the file; `lines` are without their newlines; a carriage return stays."""

    name: str
    lines: tuple[str, ...]

    def excerpt(self, span: Span, caret: str = "") -> str:
        """The lines with their neighbours, marked as BuildKit marks them. `caret`: text of the first marked line to point at."""
        first, last = max(1, span.first), min(span.last, len(self.lines))
        if first > last:
            return ""
        out = [f"{self.name}:{first}", "-" * 20]
        for number in range(max(1, first - _CONTEXT_LINES), min(len(self.lines), last + _CONTEXT_LINES) + 1):
            line = self.lines[number - 1].rstrip("\r")
            mark = ">>>" if first <= number <= last else "   "
            out.append(f" {number:3} | {mark} {line}")
            at = line.find(caret) if caret and number == first else -1
            if at >= 0:
                out.append(f"     |     {' ' * at}{'^' * len(caret)}")
        out.append("-" * 20)
        return "\n".join(out) + "\n"


class LineError(Exception):
    """Something is wrong on known lines; `at` turns it into an error with the file's name and an excerpt."""

    def __init__(self, message: str, span: Span, caret: str = "", *, parsing: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.caret = caret
        self.parsing = parsing

    def at(self, source: Source) -> BuildError:
        prefix = f"dockerfile parse error on line {self.span.first}: " if self.parsing else ""
        return BuildError(prefix + self.message, excerpt=source.excerpt(self.span, self.caret))


def read(data: bytes, name: str) -> Source:
    """Decode a Dockerfile: UTF-8 with or without a mark, lines that end in LF or CRLF. Raises BuildError."""
    if len(data) > MAX_BYTES:
        raise BuildError(f"{name} is larger than {MAX_BYTES >> 20} MiB: it is no Dockerfile")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return Source(name, tuple(lines))

"""Lines of a Dockerfile → logical lines: parser directives, comments, continuations, the bodies of heredocs."""

from __future__ import annotations

import re

from wherry.build import words
from wherry.build.source import LineError, Source, Span
from wherry.errors import InvalidArgument
from wherry.model.record import Record

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*\Z")
_DIRECTIVES = ("escape", "syntax", "check")
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]*)\Z")


class Heredoc(Record):
    """`name` is its end's; `chomp`: leading tabs go (<<-); `expands`: its name was not quoted; `descriptor` 0 unless given."""

    name: str
    content: str
    chomp: bool = False
    expands: bool = True
    descriptor: int = 0

    def text(self) -> str:
        if not self.chomp:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


class Directives(Record):
    """What the first lines of a file say. `lines`: where each was found."""

    escape: str = "\\"
    syntax: str = ""
    check: str = ""
    lines: dict[str, int] = {}


class Logical(Record):
    """A logical line: continuations joined, comments gone. `comments` stand right before it. `blank`: an empty line was in it."""

    text: str
    span: Span
    comments: tuple[str, ...] = ()
    blank: bool = False


def directives(source: Source) -> Directives:
    """Directives stand before everything else, once each; an unknown one is a comment and ends them. Raises LineError."""
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(source.lines, 1):
        if number == 1 and line.startswith("#!"):
            continue
        match = _DIRECTIVE.match(line.strip())
        name = match.group(1).lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            break
        if name in found:
            raise LineError(f"only one {name} parser directive can be used", Span(number, number))
        found[name] = match.group(2)
        lines[name] = number
        if name == "escape" and found[name] not in ("\\", "`"):
            raise LineError(f"invalid ESCAPE '{found[name]}'. Must be ` or \\", Span(number, number))
    return Directives(found.get("escape", "\\"), found.get("syntax", ""), found.get("check", ""), lines)


class Reader:
    """Walks through a source, one logical line at a time."""

    def __init__(self, source: Source, escape: str) -> None:
        self._lines = source.lines
        self._at = 0
        mark = re.escape(escape)
        # An escape character that is escaped itself continues nothing.
        self._continued = re.compile(rf"(?:(?<=[^{mark}])|^){mark}[ \t]*\Z")

    def next(self) -> Logical | None:
        """The next logical line, None at the end."""
        comments: list[str] = []
        while self._at < len(self._lines):
            raw = self._lines[self._at].lstrip().rstrip("\r")
            self._at += 1
            if raw.startswith("#"):
                comments.append(raw[1:].strip())
                continue
            first = self._at
            text, more = self._cut(raw)
            if not more and not text:
                comments.clear()
                continue
            blank = False
            pieces = [text]
            while more and self._at < len(self._lines):
                raw = self._lines[self._at].rstrip("\r")
                self._at += 1
                stripped = raw.strip()
                if stripped.startswith("#"):
                    continue
                if not stripped:
                    blank = True
                    continue
                text, more = self._cut(raw)
                pieces.append(text)
            return Logical("".join(pieces), Span(first, self._at), tuple(comments), blank)
        return None

    def _cut(self, line: str) -> tuple[str, bool]:
        """The line without its continuation, and whether it had one."""
        match = self._continued.search(line)
        return (line[: match.start()], True) if match else (line, False)

    def heredocs(self, line: Logical) -> tuple[tuple[Heredoc, ...], Span]:
        """The bodies that belong to a line, read from behind it; and the lines all of it takes. Raises LineError."""
        found = []
        for heredoc in named_heredocs(line.text):
            found.append(heredoc.replace(content=self._body(heredoc, line.span)))
        return tuple(found), Span(line.span.first, self._at)

    def _body(self, heredoc: Heredoc, span: Span) -> str:
        body: list[str] = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            end = line.rstrip("\r")
            if (end.lstrip("\t") if heredoc.chomp else end) == heredoc.name:
                return "".join(body)
            body.append(line + "\n")
        raise LineError("unterminated heredoc", Span(span.first, self._at))


def named_heredocs(text: str) -> list[Heredoc]:
    """The heredocs that a line names, without their bodies."""
    if "<<" not in text:
        return []
    try:
        candidates = words.split(text, raw=True)
    except InvalidArgument:
        # Quotes that only the shell understands: then there is no heredoc of ours.
        return []
    return [h for h in map(heredoc_of, candidates) if h is not None]


def heredoc_of(word: str) -> Heredoc | None:
    """<<NAME, <<-NAME, <<"NAME", 3<<NAME; None for any other word."""
    match = _HEREDOC.match(word)
    if match is None or not match.group(3):
        return None
    rest = match.group(3)
    try:
        plain, raw = words.split(rest), words.split(rest, raw=True)
    except InvalidArgument:
        return None
    if len(plain) != 1:
        return None
    return Heredoc(plain[0], "", bool(match.group(2)), plain == raw, int(match.group(1) or 0))

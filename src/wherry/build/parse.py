"""Logical lines → nodes: the instruction's word, its flags, its arguments in the form that this instruction has.

The grammar is BuildKit's `parser` package's; what an instruction means is not known here.
"""

from __future__ import annotations

import re

from wherry.build import lex
from wherry.build.lex import Directives, Heredoc
from wherry.build.source import LineError, Source, Span
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BLANKS = re.compile(r"[\t\v\f\r ]+")
# Chains of ONBUILD are refused later; a line can't nest more.
_MAX_DEPTH = 3


class Node(Record):
    """An instruction. `args`: its arguments; `json`: they were written as a JSON array. `child`: ONBUILD's own instruction.

    ENV and LABEL have names, values and separators ("=" or "") in turn; HEALTHCHECK its kind first.
    """

    name: str
    flags: tuple[str, ...]
    args: tuple[str, ...]
    json: bool
    text: str
    span: Span
    child: Node | None = None
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()
    blank: bool = False


class File(Record):
    source: Source
    directives: Directives
    nodes: tuple[Node, ...]


def parse(source: Source) -> File:
    """Raises BuildError."""
    try:
        return _parse(source)
    except LineError as error:
        raise error.at(source) from None


def _parse(source: Source) -> File:
    directives = lex.directives(source)
    reader = lex.Reader(source, directives.escape)
    nodes = []
    while (line := reader.next()) is not None:
        try:
            node = _node(line.text, directives.escape, line.span, 0)
        except ValueError as error:
            raise LineError(str(error), line.span) from None
        node = node.replace(comments=line.comments, blank=line.blank)
        if _may_have_heredocs(node):
            heredocs, span = reader.heredocs(line)
            node = node.replace(heredocs=heredocs, span=span)
        nodes.append(node)
    if not nodes:
        raise LineError("file with no instructions", Span(1, 1))
    return File(source, directives, tuple(nodes))


def parse_line(text: str, escape: str = "\\") -> Node:
    """One instruction by itself: a trigger out of an image. Raises ValueError."""
    return _node(text, escape, Span(1, 1), 0)


def _may_have_heredocs(node: Node) -> bool:
    name = node.name.lower()
    if name == "onbuild":
        return node.child is not None and _may_have_heredocs(node.child)
    return name in ("add", "copy", "run") and not node.json


def _node(text: str, escape: str, span: Span, depth: int) -> Node:
    """Raises ValueError with BuildKit's words."""
    head, _, rest = _parted(text.strip())
    flags, rest = _flags(rest)
    rest = rest.strip()
    name = head.lower()
    if name == "onbuild":
        child = _node(rest, escape, span, depth + 1) if rest and depth < _MAX_DEPTH else None
        return Node(head, flags, (), False, text, span, child)
    args, is_json = _ARGUMENTS[name](rest, escape) if name in _ARGUMENTS else ((rest,) if rest else (), False)
    return Node(head, flags, args, is_json, text, span)


def _parted(text: str) -> tuple[str, str, str]:
    match = _BLANKS.search(text)
    return (text[: match.start()], match.group(), text[match.end() :]) if match else (text, "", "")


def _flags(text: str) -> tuple[tuple[str, ...], str]:
    """The words that begin with --, and what follows them. A lone -- ends them."""
    found: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if not text.startswith("--", at):
            return tuple(found), text[at:]
        word, at = _flag(text, at)
        if word == "--":
            return tuple(found), text[at:]
        found.append(word)


def _flag(text: str, at: int) -> tuple[str, int]:
    """One word with its quotes taken away, and where it ends."""
    out = []
    quote = ""
    while at < len(text):
        character = text[at]
        if not quote and character.isspace():
            break
        at += 1
        if quote and character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        elif character == "\\":
            if at < len(text):
                out.append(text[at])
                at += 1
        else:
            out.append(character)
    return "".join(out), at


# -- arguments -------------------------------------------------------------------------------------------------------------


def _whole(rest: str, _escape: str) -> tuple[tuple[str, ...], bool]:
    return ((rest,) if rest else ()), False


def _parts(rest: str, _escape: str) -> tuple[tuple[str, ...], bool]:
    return (tuple(_BLANKS.split(rest)) if rest else ()), False


def json_array(text: str) -> tuple[str, ...] | None:
    """A JSON array of strings; None for what is none. Raises ValueError for an array of anything else."""
    if not text.startswith("["):
        return None
    try:
        import json

        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(item, str) for item in value):
        raise ValueError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(value)


def _json_or_whole(rest: str, escape: str) -> tuple[tuple[str, ...], bool]:
    found = json_array(rest)
    return _whole(rest, escape) if found is None else (found, True)


def _json_or_parts(rest: str, escape: str) -> tuple[tuple[str, ...], bool]:
    found = json_array(rest)
    return _parts(rest, escape) if found is None else (found, True)


def _health(rest: str, escape: str) -> tuple[tuple[str, ...], bool]:
    kind, _, rest = _parted(rest)
    if not kind:
        return (), False
    args, is_json = _json_or_whole(rest, escape)
    return (kind, *args), is_json


def _names_and_values(word: str) -> Callable[[str, str], tuple[tuple[str, ...], bool]]:
    def parse(rest: str, escape: str) -> tuple[tuple[str, ...], bool]:
        words = quoted_words(rest, escape)
        if not words:
            return (), False
        if "=" not in words[0]:
            # The old form: KEY and one value that takes the rest of the line.
            name, _, value = _parted(rest)
            if not value:
                raise ValueError(f"{word} must have two arguments")
            return (name, value, ""), False
        found: list[str] = []
        for text in words:
            name, equals, value = text.partition("=")
            if not equals:
                raise ValueError(f'Syntax error - can\'t find = in "{text}". Must be of the form: name=value')
            found += (name, value, "=")
        return tuple(found), False

    return parse


def _quoted_words(rest: str, escape: str) -> tuple[tuple[str, ...], bool]:
    return tuple(quoted_words(rest, escape)), False


def quoted_words(rest: str, escape: str) -> list[str]:
    """Words parted by blanks outside of quotes; quotes and escapes stay in them."""
    found: list[str] = []
    word: list[str] = []
    quote = ""
    at = 0
    while at < len(rest):
        character = rest[at]
        at += 1
        if not quote and character.isspace():
            if word:
                found.append("".join(word))
                word = []
            continue
        if character == escape and quote != "'":
            if at >= len(rest):
                break
            word.append(character)
            character = rest[at]
            at += 1
        elif quote:
            if character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        word.append(character)
    if word:
        found.append("".join(word))
    return found


_ARGUMENTS: dict[str, Callable[[str, str], tuple[tuple[str, ...], bool]]] = {
    "add": _json_or_parts,
    "arg": _quoted_words,
    "cmd": _json_or_whole,
    "copy": _json_or_parts,
    "entrypoint": _json_or_whole,
    "env": _names_and_values("ENV"),
    "expose": _parts,
    "from": _parts,
    "healthcheck": _health,
    "label": _names_and_values("LABEL"),
    "maintainer": _whole,
    "run": _json_or_whole,
    "shell": _json_or_whole,
    "stopsignal": _whole,
    "user": _whole,
    "volume": _json_or_parts,
    "workdir": _whole,
}
INSTRUCTIONS = (*_ARGUMENTS, "onbuild")

"""WWW-Authenticate (RFC 9110 §11.6.1): the schemes a server offers, with their parameters."""

from __future__ import annotations

from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Challenge(Record):
    """`scheme` in lower case, e.g. "bearer"; `parameters` by their names in lower case."""

    scheme: str
    parameters: dict[str, Any]


def parse(header: str) -> list[Challenge]:
    """Every challenge of a header, in order. What is malformed ends it."""
    found: list[Challenge] = []
    at = 0
    while at < len(header):
        at = _skip(header, at, " \t,")
        word, at = _token(header, at)
        if not word:
            break
        at = _skip(header, at, " \t")
        parameters: dict[str, str] = {}
        while True:
            start = at = _skip(header, at, " \t,")
            name, after = _token(header, at)
            after = _skip(header, after, " \t")
            if not name or after >= len(header) or header[after] != "=":
                at = start
                break
            value, at = _value(header, _skip(header, after + 1, " \t"))
            parameters[name.lower()] = value
        found.append(Challenge(word.lower(), parameters))
    return found


def _skip(text: str, at: int, what: str) -> int:
    while at < len(text) and text[at] in what:
        at += 1
    return at


def _token(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and text[end] in _TOKEN:
        end += 1
    return text[at:end], end


def _value(text: str, at: int) -> tuple[str, int]:
    if at >= len(text) or text[at] != '"':
        end = at
        while end < len(text) and text[end] not in ", \t":
            end += 1
        return text[at:end], end
    out = []
    at += 1
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        out.append(text[at])
        at += 1
    return "".join(out), at + 1

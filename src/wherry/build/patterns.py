"""Patterns: those of the shell inside ${v#p}, Go's filepath.Match in COPY and ADD, and both in one program each."""

from __future__ import annotations

from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# -- ${v#p}, ${v%p}, ${v/p/r}: * any text, ? any character, \ takes a character's meaning ---------------------------------

_ANY, _SOME = "?", "*"


def _shell_pattern(pattern: str) -> list[tuple[str, str]]:
    """[(kind, character)]: kind "" for the character itself, _ANY, _SOME."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            found.append((_SOME, ""))
        elif character == "?":
            found.append((_ANY, ""))
        else:
            if character == "\\" and at < len(pattern):
                character = pattern[at]
                at += 1
            found.append(("", character))
    return found


def _prefix_lengths(value: Iterable[str], pattern: list[tuple[str, str]]) -> list[int]:
    """The lengths of all beginnings of `value` that match: every state of the pattern at once, so no input is slow."""
    states = _closed({0}, pattern)
    found = [0] if len(pattern) in states else []
    for length, character in enumerate(value, 1):
        after = set()
        for state in states:
            if state == len(pattern):
                continue
            kind, wanted = pattern[state]
            if kind == _SOME:
                after.add(state)
            elif kind == _ANY or wanted == character:
                after.add(state + 1)
        states = _closed(after, pattern)
        if not states:
            break
        if len(pattern) in states:
            found.append(length)
    return found


def _closed(states: set[int], pattern: list[tuple[str, str]]) -> set[int]:
    for state in sorted(states):
        while state < len(pattern) and pattern[state][0] == _SOME:
            state += 1
            states.add(state)
    return states


def without_prefix(value: str, pattern: str, *, longest: bool) -> str:
    lengths = _prefix_lengths(value, _shell_pattern(pattern))
    if not lengths:
        return value
    return value[lengths[-1 if longest else 0] :]


def without_suffix(value: str, pattern: str, *, longest: bool) -> str:
    lengths = _prefix_lengths(reversed(value), _shell_pattern(pattern)[::-1])
    if not lengths:
        return value
    length = lengths[-1 if longest else 0]
    return value[: len(value) - length]


def replaced(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    """The longest match that begins first (all of them with `everywhere`) replaced."""
    import re

    pieces: list[list[str]] = [[]]
    for kind, character in _shell_pattern(pattern):
        if kind == _SOME:
            pieces.append([])
        else:
            pieces[-1].append("." if kind == _ANY else re.escape(character))
    wanted = re.compile(_starred(["".join(piece) for piece in pieces], "."), re.DOTALL)
    # An empty match would be replaced between all characters: only Go's regexps do that, nobody means it.
    left = 0 if everywhere else 1
    out: list[str] = []
    at = 0
    for found in wanted.finditer(value):
        if found.end() == found.start():
            continue
        out += [value[at : found.start()], replacement]
        at = found.end()
        left -= 1
        if not left:
            break
    return "".join(out) + value[at:]


# -- Go's filepath.Match: COPY's and ADD's sources -------------------------------------------------------------------------


def is_glob(name: str) -> bool:
    return any(c in name for c in "*?[\\")


def match(pattern: str, name: str) -> bool:
    """Go's filepath.Match: * and ? stay within one part of a path. Raises InvalidArgument for a malformed pattern."""
    import re

    return re.fullmatch(regular(pattern), name, re.DOTALL) is not None


def regular(pattern: str) -> str:
    """The regular expression of a Go pattern. Raises InvalidArgument as Go's ErrBadPattern."""
    pieces: list[list[str]] = [[]]
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        out = pieces[-1]
        if character == "*":
            if out or len(pieces) == 1:
                pieces.append([])
        elif character == "?":
            out.append("[^/]")
        elif character == "[":
            text, at = _class(pattern, at)
            out.append(text)
        elif character == "\\":
            if at >= len(pattern):
                raise InvalidArgument(f"syntax error in pattern: {pattern}")
            out.append(_quoted(pattern[at]))
            at += 1
        else:
            out.append(_quoted(character))
    return _starred(["".join(piece) for piece in pieces], "[^/]")


def _starred(pieces: list[str], any_: str) -> str:
    """Pieces with stars between them. Where a piece can match it may do so at the first place, for good: what follows has the most
    room there. So no input is slow.
    """
    if len(pieces) == 1:
        return pieces[0]
    middle = "".join(f"(?>{any_}*?{piece})" for piece in pieces[1:-1])
    return f"{pieces[0]}{middle}{any_}*{pieces[-1]}"


def _class(pattern: str, at: int) -> tuple[str, int]:
    """A character class behind its [, and where it ends."""
    negated = pattern[at : at + 1] == "^"
    at += negated
    parts: list[str] = []
    while True:
        if pattern[at : at + 1] == "]" and parts:
            break
        low, at = _class_character(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _class_character(pattern, at + 1)
        if low <= high:
            parts.append(_in_class(low) + "-" + _in_class(high))
        else:
            # An empty range matches nothing.
            parts.append("")
    inner = "".join(parts)
    if not inner:
        return ("[^/]" if negated else "(?!)"), at + 1
    return f"[^/{inner}]" if negated else f"(?!/)[{inner}]", at + 1


def _class_character(pattern: str, at: int) -> tuple[str, int]:
    character = pattern[at : at + 1]
    if character in ("", "-", "]"):
        raise InvalidArgument(f"syntax error in pattern: {pattern}")
    if character == "\\":
        at += 1
        character = pattern[at : at + 1]
        if not character:
            raise InvalidArgument(f"syntax error in pattern: {pattern}")
    if at + 1 >= len(pattern):
        raise InvalidArgument(f"syntax error in pattern: {pattern}")
    return character, at + 1


def _quoted(character: str) -> str:
    return character if character.isalnum() or character in "_/" or ord(character) > 127 else "\\" + character


def _in_class(character: str) -> str:
    return character if character.isalnum() or ord(character) > 127 else "\\" + character

"""--chmod: octal, or chmod(1)'s words (u=rwX,go=rX)."""

from __future__ import annotations

import re
import stat

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)\Z")
_ACTION = re.compile(r"([-+=])([rwxXst]*|[ugo])")
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_WHO = {"u": 0o700 | stat.S_ISUID, "g": 0o070 | stat.S_ISGID, "o": 0o007 | stat.S_ISVTX}


class Mode:
    """A parsed --chmod. Raises ValueError with BuildKit's words."""

    def __init__(self, text: str) -> None:
        self._clauses: list[tuple[str, list[tuple[str, str]]]] = []
        self._bits = -1
        if re.fullmatch("[0-7]{1,5}", text) and int(text, 8) <= 0o7777:
            self._bits = int(text, 8)
            return
        for clause in text.split(","):
            match = _CLAUSE.match(clause)
            if match is None:
                raise ValueError(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")
            self._clauses.append((match.group(1) or "a", _ACTION.findall(match.group(2))))

    def of(self, mode: int) -> int:
        """The new permission bits of something whose st_mode is `mode`."""
        if self._bits >= 0:
            return self._bits
        found = stat.S_IMODE(mode)
        for who, actions in self._clauses:
            mask = 0
            for letter in "ugo" if "a" in who else who:
                mask |= _WHO[letter]
            for sign, what in actions:
                bits = _wanted(what, found, mask, folder=stat.S_ISDIR(mode))
                if sign == "+":
                    found |= bits
                elif sign == "-":
                    found &= ~bits
                else:
                    found = found & ~(mask & 0o777) | bits
        return found


def _wanted(what: str, now: int, mask: int, *, folder: bool) -> int:
    if what in ("u", "g", "o"):
        three = now >> {"u": 6, "g": 3, "o": 0}[what] & 7
        return (three | three << 3 | three << 6) & mask
    bits = 0
    for letter in what:
        if letter in _BITS:
            bits |= _BITS[letter]
        elif letter == "X":
            bits |= 0o111 if folder or now & 0o111 else 0
        elif letter == "s":
            bits |= stat.S_ISUID | stat.S_ISGID
        else:
            bits |= stat.S_ISVTX
    return bits & mask

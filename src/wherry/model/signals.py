"""Signals of Linux by name and number."""

from __future__ import annotations

_NAMES = {
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "IOT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10, "SEGV": 11,
    "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CLD": 17, "CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21,
    "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28, "IO": 29, "POLL": 29, "PWR": 30, "SYS": 31,
}  # fmt: skip
RTMIN, RTMAX = 34, 64


def number(text: str) -> int | None:
    """The number of "TERM", "sigterm", "15" or "SIGRTMIN+3"; None for anything else."""
    word = text.strip().upper()
    if word.isdigit():
        return int(word) if 0 < int(word) <= RTMAX else None
    word = word.removeprefix("SIG")
    if word in _NAMES:
        return _NAMES[word]
    for name, base, sign in (("RTMIN", RTMIN, 1), ("RTMAX", RTMAX, -1)):
        rest = word.removeprefix(name)
        if rest == word:
            continue
        if not rest:
            return base
        if rest[0] == ("+" if sign > 0 else "-") and rest[1:].isdigit():
            found = base + sign * int(rest[1:])
            return found if RTMIN <= found <= RTMAX else None
    return None


def name(value: int) -> str:
    """ "SIGTERM" of 15; the number as text where it has no name."""
    for word, found in _NAMES.items():
        if found == value:
            return "SIG" + word
    return str(value)

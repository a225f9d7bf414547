"""Subordinate ids: /etc/subuid and /etc/subgid (subuid(5))."""

from __future__ import annotations

FILES = ("/etc/subuid", "/etc/subgid")


def _rows(path: str) -> list[tuple[str, int, int]]:
    """(owner, start, count) of each well-formed line."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 20)
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit() and int(parts[2]) > 0:
            found.append((parts[0], int(parts[1]), int(parts[2])))
    return found


def of_user(path: str, uid: int, name: str) -> tuple[tuple[int, int], ...]:
    """(start, count) of every range that a user, by number or by name, has in `path`."""
    return tuple((start, count) for owner, start, count in _rows(path) if owner in (name, str(uid)) and owner)


def all_ranges() -> tuple[tuple[int, int], ...]:
    """(start, count) of every range in both files, whoever has it."""
    return tuple((start, count) for path in FILES for _owner, start, count in _rows(path))

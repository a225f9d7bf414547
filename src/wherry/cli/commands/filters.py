"""--filter key=value, repeated."""

from __future__ import annotations

from wherry.errors import UsageError


def parsed(texts: list[str]) -> dict[str, list[str]]:
    """{"status": ["exited"], …}. Raises UsageError."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f'invalid argument "{text}" for "-f, --filter" flag: bad format of filter (expected name=value)')
        found.setdefault(key.strip().lower(), []).append(value.strip())
    return found


def confirmed(text: str) -> bool:
    """Ask before something is lost; no answer is no."""
    import os

    os.write(1, os.fsencode(text + "\nAre you sure you want to continue? [y/N] "))
    answer = os.read(0, 100).strip().lower()
    return answer in (b"y", b"yes")

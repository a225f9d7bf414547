"""--filter key=value, repeated."""

from __future__ import annotations

from wherry.cli.context import encoded, write
from wherry.errors import UsageError


def parsed(texts: list[str]) -> dict[str, list[str]]:
    """{"status": ["exited"], …} of texts that `check` has seen."""
    found: dict[str, list[str]] = {}
    for text in texts:
        if text:
            key, _, value = text.partition("=")
            found.setdefault(key.strip().lower(), []).append(value.strip())
    return found


def check(text: str) -> str:
    """An option's check: key=value, or nothing. Raises UsageError."""
    if text and "=" not in text:
        raise UsageError("bad format of filter (expected name=value)")
    return text


def confirmed(text: str) -> bool:
    """Ask before something is lost; no answer is no."""
    import os

    write(1, encoded(text + "\nAre you sure you want to continue? [y/N] "))
    answer = os.read(0, 100).strip().lower()
    return answer in (b"y", b"yes")

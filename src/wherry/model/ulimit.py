"""--ulimit name=soft[:hard] (docker/go-units)."""

from __future__ import annotations

from wherry.errors import InvalidArgument

NAMES = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending",
    "stack",
)  # fmt: skip


def parse(text: str) -> dict[str, object]:
    """docker's {"Name", "Soft", "Hard"}; -1 is unlimited. Raises InvalidArgument."""
    name, equals, values = text.partition("=")
    if not equals:
        raise InvalidArgument(f"invalid ulimit argument: {text}")
    if name not in NAMES:
        raise InvalidArgument(f"invalid ulimit type: {name}")
    soft_text, colon, hard_text = values.partition(":")
    soft = _number(soft_text, text)
    hard = _number(hard_text, text) if colon else soft
    if hard != -1 and (soft > hard or soft == -1):
        raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Soft": soft, "Hard": hard}


def _number(word: str, text: str) -> int:
    try:
        value = int(word)
    except ValueError:
        raise InvalidArgument(f"invalid ulimit argument: {text}") from None
    if value < -1:
        raise InvalidArgument(f"invalid ulimit argument: {text}")
    return value

"""--ulimit name=soft[:hard] (docker/go-units)."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.model.numbers import parse_int

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
    words = values.split(":")
    if len(words) > 2:
        raise InvalidArgument(f"too many limit value arguments - {values}, can only have up to two, `soft[:hard]`")
    limits = [parse_int(word) for word in words]
    soft, hard = limits[0], limits[-1]
    if min(limits) < -1:
        raise InvalidArgument(f"invalid ulimit argument: {text}")
    if soft == -1 and hard != -1:
        raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {hard}")
    if hard != -1 and soft > hard:
        raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Soft": soft, "Hard": hard}

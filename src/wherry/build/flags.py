"""Flags of instructions: --name=value, --switch, repeatable ones; BuildKit's error texts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# instruction → flag → "text", "switch" or "list"
KNOWN: dict[str, dict[str, str]] = {
    "add": {
        "checksum": "text",
        "chmod": "text",
        "chown": "text",
        "exclude": "list",
        "keep-git-dir": "switch",
        "link": "switch",
        "unpack": "switch",
    },
    "copy": {"chmod": "text", "chown": "text", "exclude": "list", "from": "text", "link": "switch", "parents": "switch"},
    "from": {"platform": "text"},
    "healthcheck": {"interval": "text", "retries": "text", "start-interval": "text", "start-period": "text", "timeout": "text"},
    "run": {"device": "list", "mount": "list", "network": "text", "security": "text"},
}


def parse(instruction: str, flags: tuple[str, ...]) -> dict[str, Any]:
    """Flag → value, for those that are given. Raises ValueError."""
    known = KNOWN.get(instruction, {})
    found: dict[str, Any] = {}
    for flag in flags:
        name, equals, value = flag.removeprefix("--").partition("=")
        kind = known.get(name)
        if kind is None:
            raise ValueError(f"unknown flag: --{name}{suggestion(name, known)}")
        if kind == "list":
            if not equals:
                raise ValueError(f"missing a value on flag: --{name}")
            found.setdefault(name, []).append(value)
            continue
        if name in found:
            raise ValueError(f"duplicate flag specified: --{name}")
        if kind == "switch":
            if equals and value.lower() not in ("true", "false"):
                raise ValueError(f"expecting boolean value for flag --{name}, not: {value}")
            found[name] = value.lower() != "false"
        else:
            if not equals:
                raise ValueError(f"missing a value on flag: --{name}")
            found[name] = value
    return found


def suggestion(word: str, known: Iterable[str]) -> str:
    """ " (did you mean …?)" for a word that is nearly a known one, else ""."""
    import difflib

    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f" (did you mean {near[0]}?)" if near else ""

"""EXPOSE's ports: 80, 80/udp, 7000-7005/tcp; a host's part before a colon is dropped, as docker does."""

from __future__ import annotations

from wherry.errors import InvalidArgument

_PROTOCOLS = ("tcp", "udp", "sctp")


def parse(text: str) -> list[str]:
    """ "80" → ["80/tcp"]; a range gives each of its ports. Raises InvalidArgument."""
    ports, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if not ports:
        raise InvalidArgument(f"No port specified: {text}<empty>")
    if protocol not in _PROTOCOLS:
        raise InvalidArgument(f"Invalid proto: {protocol}")
    container = ports.rpartition(":")[2]
    first, dash, last = container.partition("-")
    low, high = _number(first, container), _number(last, container) if dash else _number(first, container)
    if high < low:
        raise InvalidArgument(f"Invalid containerPort: {container}")
    return [f"{number}/{protocol}" for number in range(low, high + 1)]


def _number(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 <= int(text) <= 65535:
        raise InvalidArgument(f"Invalid containerPort: {whole}")
    return int(text)

"""IP addresses and subnets as numbers: what the package `ipaddress` does, at no import cost (it takes 12 ms)."""

from __future__ import annotations

import _socket

from wherry.errors import InvalidArgument
from wherry.model.record import Record


def family(text: str) -> int:
    """4, 6, or 0 for what is no address."""
    for version, code in ((4, _socket.AF_INET), (6, _socket.AF_INET6)):
        try:
            _socket.inet_pton(code, text)
        except (OSError, ValueError):
            continue
        return version
    return 0


def packed(text: str) -> bytes:
    """Four or sixteen bytes. Raises InvalidArgument."""
    for code in (_socket.AF_INET, _socket.AF_INET6):
        try:
            return _socket.inet_pton(code, text)
        except (OSError, ValueError):
            continue
    raise InvalidArgument(f"invalid IP address: {text}")


def number(text: str) -> int:
    return int.from_bytes(packed(text), "big")


def text(value: int, version: int) -> str:
    if version == 4:
        return _socket.inet_ntop(_socket.AF_INET, value.to_bytes(4, "big"))
    return _socket.inet_ntop(_socket.AF_INET6, value.to_bytes(16, "big"))


class Subnet(Record):
    """A network's range: `first` is its lowest address as a number, `prefix` the bits that all of them share."""

    version: int
    first: int
    prefix: int

    @property
    def bits(self) -> int:
        return 32 if self.version == 4 else 128

    @property
    def last(self) -> int:
        return self.first | (1 << (self.bits - self.prefix)) - 1

    @property
    def shown(self) -> str:
        return f"{text(self.first, self.version)}/{self.prefix}"

    def holds(self, value: int) -> bool:
        return self.first <= value <= self.last

    def overlaps(self, other: Subnet) -> bool:
        return self.version == other.version and self.first <= other.last and other.first <= self.last


def subnet(given: str, *, strict: bool = False) -> Subnet:
    """ADDRESS/PREFIX. Bits behind the prefix are dropped, or refused with `strict`. Raises InvalidArgument in docker's words."""
    address, slash, prefix = given.partition("/")
    version = family(address)
    bits = 32 if version == 4 else 128
    if not version or not slash or not prefix.isascii() or not prefix.isdigit() or int(prefix) > bits:
        raise InvalidArgument(f"invalid subnet {given} : invalid CIDR address: {given}")
    value = number(address)
    first = value >> (bits - int(prefix)) << (bits - int(prefix))
    if strict and first != value:
        raise InvalidArgument(f"invalid subnet {given}: it should be {text(first, version)}/{prefix}")
    return Subnet(version, first, int(prefix))


def mac(given: str) -> str:
    """A MAC address in lower case with colons. Raises InvalidArgument."""
    parts = given.replace("-", ":").split(":")
    if len(parts) != 6 or any(len(p) != 2 or not all(c in "0123456789abcdefABCDEF" for c in p) for p in parts):
        raise InvalidArgument(f"{given} is not a valid mac address")
    return ":".join(parts).lower()


def mac_for(ip: str) -> str:
    """docker's way for long: 02:42 and the IPv4 address, so that an address that is used again keeps its neighbours' caches right."""
    return "02:42:" + ":".join(f"{b:02x}" for b in packed(ip)[-4:])

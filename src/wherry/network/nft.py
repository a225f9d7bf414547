"""nftables by netlink: messages of a batch as bytes. No `nft` program and no library; the kernel's names are kept.

A batch is in force as a whole or not at all. Sources: linux/netfilter/nf_tables.h, and what `nft --debug=netlink` prints.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

INET, IPV4, IPV6, BRIDGE = 1, 2, 10, 7
# Hooks and priorities of the chains.
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = 0, 1, 2, 3, 4
RAW, DSTNAT, FILTER, SRCNAT, BRIDGE_DSTNAT = -300, -100, 0, 100, -300

_REQUEST, _ACK, _CREATE, _APPEND = 1, 4, 0x400, 0x800
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _NEWSET, _NEWSETELEM, _DELSETELEM = 0, 2, 3, 6, 9, 12, 14
# Key types as nft numbers them, for its listing only: (number, bytes).
TYPES = {"ipv4": (7, 4), "ipv6": (8, 16), "mac": (9, 6), "proto": (12, 1), "port": (13, 2), "ifname": (41, 16)}
# The first register of 32 bits; NFT_REG_VERDICT is 0.
R0 = 8
META_NFPROTO, META_L4PROTO, META_IIFNAME, META_OIFNAME = 15, 16, 6, 7
LINK_HEADER, NETWORK_HEADER, TRANSPORT_HEADER = 0, 1, 2
EQ, NEQ = 0, 1
DROP, ACCEPT = 0, 1


def attribute(kind: int, value: bytes) -> bytes:
    return (4 + len(value)).to_bytes(2, "little") + kind.to_bytes(2, "little") + value + bytes(-len(value) % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return attribute(kind, (value & 0xFFFFFFFF).to_bytes(4, "big"))


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | 0x8000, b"".join(parts))


def padded(value: bytes) -> bytes:
    """A value as it lies in registers: whole ones."""
    return value + bytes(-len(value) % 4)


def name16(interface: str) -> bytes:
    return interface.encode().ljust(16, b"\0")


class Batch:
    """Messages for one table of one family, in order; `family` and `table` may be changed in between."""

    def __init__(self, family: int, table: str) -> None:
        self.family, self.table = family, table
        self._out = bytearray()
        self._sequence = 1
        self._sets = 0

    def _message(self, kind: int, flags: int, *parts: bytes) -> None:
        body = bytes((self.family, 0, 0, 0)) + b"".join(parts)
        self._put(10 << 8 | kind, flags | _ACK, body)

    def _put(self, kind: int, flags: int, body: bytes) -> None:
        self._out += (16 + len(body)).to_bytes(4, "little") + kind.to_bytes(2, "little") + (_REQUEST | flags).to_bytes(2, "little")
        self._out += self._sequence.to_bytes(4, "little") + bytes(4) + body
        self._sequence += 1

    def encoded(self) -> bytes:
        """The whole batch, begin and end around it; b"" when there is nothing in it."""
        if not self._out:
            return b""
        head = bytes((0, 0, 0, 10))
        begin = (20).to_bytes(4, "little") + (16).to_bytes(2, "little") + _REQUEST.to_bytes(2, "little") + bytes(8) + head
        end = (20).to_bytes(4, "little") + (17).to_bytes(2, "little") + _REQUEST.to_bytes(2, "little") + bytes(8) + head
        return begin + bytes(self._out) + end

    # -- objects --

    def new_table(self) -> None:
        self._message(_NEWTABLE, _CREATE, text(1, self.table), number(2, 0))

    def drop_table(self) -> None:
        """No error if there is none."""
        self.new_table()
        self._message(_DELTABLE, 0, text(1, self.table))

    def chain(self, name: str, kind: str = "", hook: int = 0, priority: int = 0) -> None:
        """A base chain, or with `kind` "" one that is only jumped to."""
        parts = [text(1, self.table), text(3, name)]
        if kind:
            parts += [nested(4, number(1, hook), number(2, priority)), number(5, ACCEPT), text(7, kind)]
        self._message(_NEWCHAIN, _CREATE, *parts)

    def set(self, name: str, key: tuple[str, ...], data: tuple[str, ...] = ()) -> None:
        """A set, or with `data` a map. Several types are a concatenation, each padded to whole registers."""
        self._sets += 1
        parts = [text(1, self.table), text(2, name), number(3, 8 if data else 0), number(4, _type(key)), number(5, _size(key))]
        if data:
            parts += [number(6, _type(data)), number(7, _size(data))]
        parts.append(number(10, self._sets))
        self._message(_NEWSET, _CREATE, *parts)

    def add(self, name: str, elements: Iterable[tuple[bytes, bytes]]) -> None:
        """Elements of a set (with b"" behind the key) or a map."""
        self._elements(_NEWSETELEM, _CREATE, name, elements)

    def remove(self, name: str, keys: Iterable[bytes]) -> None:
        """Each in a message of its own, so that one that is gone already doesn't hide the others' errors."""
        for key in keys:
            self._elements(_DELSETELEM, 0, name, [(key, b"")])

    def _elements(self, kind: int, flags: int, name: str, elements: Iterable[tuple[bytes, bytes]]) -> None:
        parts = []
        for key, data in elements:
            inner = nested(1, attribute(1, key))
            if data:
                inner += nested(2, attribute(1, data))
            parts.append(nested(1, inner))
            if len(parts) == 200:
                # The length of an attribute is 16 bits.
                self._message(kind, flags, text(1, self.table), text(2, name), nested(3, *parts))
                parts = []
        if parts:
            self._message(kind, flags, text(1, self.table), text(2, name), nested(3, *parts))

    def rule(self, chain: str, *expressions: bytes) -> None:
        self._message(_NEWRULE, _CREATE | _APPEND, text(1, self.table), text(2, chain), nested(4, *expressions))


def _type(types: tuple[str, ...]) -> int:
    value = 0
    for kind in types:
        value = value << 6 | TYPES[kind][0]
    return value


def _size(types: tuple[str, ...]) -> int:
    if len(types) == 1:
        return TYPES[types[0]][1]
    return sum((TYPES[kind][1] + 3) // 4 * 4 for kind in types)


# -- expressions ---------------------------------------------------------------------------------------------------------


def _expression(name: str, *parts: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *parts))


def meta(key: int, register: int = R0) -> bytes:
    return _expression("meta", number(2, key), number(1, register))


def payload(base: int, offset: int, length: int, register: int = R0) -> bytes:
    return _expression("payload", number(1, register), number(2, base), number(3, offset), number(4, length))


def compare(value: bytes, operator: int = EQ, register: int = R0) -> bytes:
    return _expression("cmp", number(1, register), number(2, operator), nested(3, attribute(1, value)))


def mask(bits: bytes, register: int = R0) -> bytes:
    zero = bytes(len(bits))
    return _expression(
        "bitwise",
        number(1, register),
        number(2, register),
        number(3, len(bits)),
        nested(4, attribute(1, bits)),
        nested(5, attribute(1, zero)),
    )


def lookup(name: str, *, register: int = R0, inverted: bool = False, into: int = 0) -> bytes:
    parts = [text(1, name), number(2, register)]
    if into:
        parts.append(number(3, into))
    if inverted:
        parts.append(number(5, 1))
    return _expression("lookup", *parts)


def verdict(code: int) -> bytes:
    return _expression("immediate", number(1, 0), nested(2, nested(2, number(1, code))))


def to_local_address() -> bytes:
    """fib daddr type local"""
    return _expression("fib", number(1, R0), number(2, 3), number(3, 2)) + compare((2).to_bytes(4, "little"))


def translated(protocol: int, address_register: int, port_register: int) -> bytes:
    """dnat to what the registers hold"""
    return _expression("nat", number(1, 1), number(2, protocol), number(3, address_register), number(5, port_register))


def masquerade() -> bytes:
    return _expression("masq")


def conntrack_state(bits: int) -> bytes:
    value = bits.to_bytes(4, "little")
    return _expression("ct", number(1, R0), number(2, 0)) + mask(value) + compare(bytes(4), NEQ)


def conntrack_translated() -> bytes:
    """ct status dnat"""
    value = (1 << 5).to_bytes(4, "little")
    return _expression("ct", number(1, R0), number(2, 2)) + mask(value) + compare(bytes(4), NEQ)


def protocol(family: int) -> bytes:
    return meta(META_NFPROTO) + compare(bytes((family,)))


def interface(key: int, name: str, operator: int = EQ) -> bytes:
    """meta iifname or oifname; a name that ends in * is a beginning."""
    if name.endswith("*"):
        return meta(key) + compare(name[:-1].encode(), operator)
    return meta(key) + compare(name16(name), operator)


def in_subnet(offset: int, first: bytes, prefix: int, operator: int = EQ) -> bytes:
    """The address at `offset` of the network header is in first/prefix."""
    size = len(first)
    bits = ((1 << prefix) - 1 << (size * 8 - prefix)).to_bytes(size, "big")
    return payload(NETWORK_HEADER, offset, size) + mask(bits) + compare(bytes(a & b for a, b in zip(first, bits)), operator)

"""Netlink for cold paths and for a look at what is there: sockets, bridges, routes. Starts of containers do theirs in C."""

from __future__ import annotations

import _socket
import os

from wherry.errors import HostError

_NETLINK, _RAW, _CLOEXEC = 16, 3, 0o2000000
ROUTE, NETFILTER = 0, 12
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_ERROR, _DONE = 2, 3
_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _GETROUTE = 16, 17, 18, 20, 26


def _attribute(kind: int, value: bytes) -> bytes:
    return (4 + len(value)).to_bytes(2, "little") + kind.to_bytes(2, "little") + value + bytes(-len(value) % 4)


class Netlink:
    """One socket, in the network namespace of the moment it is made. Raises OSError with the kernel's number."""

    def __init__(self, protocol: int) -> None:
        try:
            self._socket = _socket.socket(_NETLINK, _RAW | _CLOEXEC, protocol)
        except OSError as error:
            raise HostError(f"no netlink socket: {os.strerror(error.errno or 0)}") from error
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
        """One request; its answers as (type, body)."""
        self._sequence += 1
        head = (16 + len(body)).to_bytes(4, "little") + kind.to_bytes(2, "little") + (_REQUEST | flags).to_bytes(2, "little")
        self._socket.send(head + self._sequence.to_bytes(4, "little") + bytes(4) + body)
        found: list[tuple[int, bytes]] = []
        while True:
            for answer, data in _messages(self._socket.recv(1 << 18)):
                if answer == _ERROR:
                    code = -int.from_bytes(data[:4], "little", signed=True)
                    if code:
                        raise OSError(code, os.strerror(code))
                    return found
                if answer == _DONE:
                    return found
                found.append((answer, data))
            if not flags & _DUMP and found and not flags & _ACK:
                return found

    def batch(self, data: bytes) -> None:
        """An nfnetlink batch, as network/nft.py makes it. Raises OSError with the first error of it."""
        wanted = _count_acks(data)
        self._socket.setsockopt(1, 33, 4 << 20)  # SO_RCVBUFFORCE
        self._socket.setsockopt(1, 32, 4 << 20)  # SO_SNDBUFFORCE
        self._socket.send(data)
        first = 0
        while wanted > 0:
            for answer, body in _messages(self._socket.recv(1 << 18)):
                if answer == _ERROR:
                    wanted -= 1
                    first = first or -int.from_bytes(body[:4], "little", signed=True)
            if first:
                break
        if first:
            raise OSError(first, os.strerror(first))


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = 0
    while at + 16 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        if size < 16:
            break
        found.append((int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 16 : at + size]))
        at += (size + 3) & ~3
    return found


def _count_acks(data: bytes) -> int:
    count = at = 0
    while at + 16 <= len(data):
        if data[at + 6] & _ACK:
            count += 1
        at += (int.from_bytes(data[at : at + 4], "little") + 3) & ~3
    return count


def send_batch(data: bytes) -> None:
    """Raises HostError."""
    if not data:
        return
    with Netlink(NETFILTER) as netlink:
        try:
            netlink.batch(data)
        except OSError as error:
            raise HostError(
                f"nftables refuses our rules: {os.strerror(error.errno or 0)}",
                hint="networks need the kernel's nf_tables with nat; --network host and none work without",
            ) from error


def table_exists(family: int, name: str) -> bool:
    with Netlink(NETFILTER) as netlink:
        try:
            netlink.ask(10 << 8 | 1, 0, bytes((family, 0, 0, 0)) + _attribute(1, name.encode() + b"\0"))
        except OSError:
            return False
    return True


# -- links and routes ------------------------------------------------------------------------------------------------------


def _link(index: int = 0, *, flags: int = 0, change: int = 0) -> bytes:
    return bytes(4) + index.to_bytes(4, "little") + flags.to_bytes(4, "little") + change.to_bytes(4, "little")


def index_of(name: str) -> int:
    """0 when there is no such link."""
    try:
        return _socket.if_nametoindex(name)
    except OSError:
        return 0


def names() -> list[str]:
    return [name for _index, name in _socket.if_nameindex()]


def make_bridge(name: str, mac: str, mtu: int) -> None:
    kind = _attribute(0x8000 | 18, _attribute(1, b"bridge\0"))
    body = _link(flags=0, change=0) + _attribute(3, name.encode() + b"\0") + _attribute(1, bytes.fromhex(mac.replace(":", "")))
    if mtu:
        body += _attribute(4, mtu.to_bytes(4, "little"))
    with Netlink(ROUTE) as netlink:
        netlink.ask(_NEWLINK, _ACK | 0x600, body + kind)


def set_up(name: str) -> None:
    with Netlink(ROUTE) as netlink:
        netlink.ask(_NEWLINK, _ACK, _link(index_of(name), flags=1, change=1))


def add_address(name: str, address: bytes, prefix: int) -> None:
    four = len(address) == 4
    # No search for duplicates: a bridge without ports would stay tentative.
    head = bytes((2 if four else 10, prefix, 0 if four else 2, 0)) + index_of(name).to_bytes(4, "little")
    body = head + _attribute(2, address) + _attribute(1, address)
    if four and prefix < 31:
        mask = (1 << (32 - prefix)) - 1
        body += _attribute(4, (int.from_bytes(address, "big") | mask).to_bytes(4, "big"))
    with Netlink(ROUTE) as netlink:
        netlink.ask(_NEWADDR, _ACK | 0x500, body)


def delete_link(name: str) -> None:
    """No error when there is none."""
    index = index_of(name)
    if not index:
        return
    with Netlink(ROUTE) as netlink:
        try:
            netlink.ask(_DELLINK, _ACK, _link(index))
        except OSError:
            return


def routes() -> list[tuple[int, int, int, int]]:
    """(family 4 or 6, first address, prefix, index of the link) of the routes that are not the default one."""
    found = []
    with Netlink(ROUTE) as netlink:
        for family, version in ((2, 4), (10, 6)):
            for _kind, data in netlink.ask(_GETROUTE, _DUMP, bytes((family,)) + bytes(11)):
                prefix, table, kind = data[1], data[4], data[7]
                # Unicast routes of the tables that somebody looks into; local and broadcast addresses are parts of them.
                if not prefix or table == 255 or kind != 1:
                    continue
                values = _attributes(data[12:])
                if 1 in values:
                    found.append((version, int.from_bytes(values[1], "big"), prefix, int.from_bytes(values.get(4, b""), "little")))
    return found


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 2], "little")
        if size < 4:
            break
        found[int.from_bytes(data[at + 2 : at + 4], "little") & 0x3FFF] = data[at + 4 : at + size]
        at += (size + 3) & ~3
    return found

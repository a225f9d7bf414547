"""DNS messages for tests, written from RFC 1035 without a library, and servers that behave as a test wants."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

A, PTR, TXT, AAAA, ANY = 1, 12, 16, 28, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)


def labels(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def query(name: str, kind: int = A, *, ident: int = 0x1234, edns: int = 0) -> bytes:
    head = ident.to_bytes(2, "big") + bytes.fromhex("0100 0001 0000 0000") + (b"\0\1" if edns else b"\0\0")
    opt = b"\0" + (41).to_bytes(2, "big") + edns.to_bytes(2, "big") + bytes(6) if edns else b""
    return head + labels(name) + kind.to_bytes(2, "big") + b"\0\1" + opt


def end_of_name(data: bytes, at: int) -> int:
    while data[at]:
        if data[at] >= 0xC0:
            return at + 2
        at += data[at] + 1
    return at + 1


def read_name(data: bytes, at: int) -> str:
    parts = []
    while data[at]:
        if data[at] >= 0xC0:
            at = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
            continue
        parts.append(data[at + 1 : at + 1 + data[at]].decode())
        at += data[at] + 1
    return ".".join(parts)


class Answer(NamedTuple):
    ident: int
    rcode: int
    cut: bool
    records: list[str]
    size: int


def read(data: bytes) -> Answer:
    flags = int.from_bytes(data[2:4], "big")
    at = 12
    for _ in range(int.from_bytes(data[4:6], "big")):
        at = end_of_name(data, at) + 4
    records = []
    for _ in range(int.from_bytes(data[6:8], "big")):
        at = end_of_name(data, at)
        kind, size = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 8 : at + 10], "big")
        value = data[at + 10 : at + 10 + size]
        if kind == A:
            records.append(socket.inet_ntop(socket.AF_INET, value))
        elif kind == AAAA:
            records.append(socket.inet_ntop(socket.AF_INET6, value))
        elif kind == PTR:
            records.append(read_name(data, at + 10))
        else:
            records.append(value.hex())
        at += 10 + size
    return Answer(int.from_bytes(data[:2], "big"), flags & 15, bool(flags & 0x200), records, len(data))


def answer(asked: bytes, addresses: list[str], rcode: int = NOERROR, *, cut: bool = False) -> bytes:
    """What a server would say to the query `asked`."""
    end = end_of_name(asked, 12) + 4
    flags = 0x8180 | rcode | (0x200 if cut else 0)
    records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(a) for a in addresses)
    head = asked[:2] + flags.to_bytes(2, "big") + b"\0\1" + len(addresses).to_bytes(2, "big") + bytes(4)
    return head + asked[12:end] + records


Behaviour = Callable[[bytes, str], list[bytes]]


class Server:
    """On a port of the loopback, by UDP and TCP. What it says is up to `behave(query, "udp"|"tcp")`; `asked` are the names it was asked for."""

    def __init__(self, behave: Behaviour, delay_s: float = 0.0) -> None:
        self.behave, self.delay_s = behave, delay_s
        self.asked: list[str] = []
        while True:
            self.tcp = socket.create_server(("127.0.0.1", 0))
            self.port: int = self.tcp.getsockname()[1]
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.udp.bind(("127.0.0.1", self.port))
                break
            except OSError:  # taken: another one
                self.tcp.close(), self.udp.close()
        self.open = True
        for s, serve in ((self.udp, self._datagrams), (self.tcp, self._streams)):
            s.settimeout(0.2)
            threading.Thread(target=serve, daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.open = False
        time.sleep(0.25)
        self.tcp.close(), self.udp.close()

    def _says(self, data: bytes, how: str) -> list[bytes]:
        self.asked.append(read_name(data, 12))
        time.sleep(self.delay_s)
        return self.behave(data, how)

    def _datagrams(self) -> None:
        while self.open:
            try:
                data, client = self.udp.recvfrom(65536)
            except TimeoutError:
                continue
            except OSError:
                return

            def say(data: bytes = data, client: tuple[str, int] = client) -> None:
                for message in self._says(data, "udp"):
                    self.udp.sendto(message, client)

            threading.Thread(target=say, daemon=True).start()

    def _streams(self) -> None:
        while self.open:
            try:
                s, _ = self.tcp.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with s:
                s.settimeout(5)
                size = int.from_bytes(s.recv(2), "big")
                for message in self._says(s.recv(size), "tcp"):
                    s.sendall(len(message).to_bytes(2, "big") + message)

"""Asking systemd's user manager for a scope: one method call over the user's D-Bus, in the bus's own wire format.

On a host with cgroup v2 an ordinary user may move processes only inside the tree that systemd has delegated to him. A login by ssh, `su` or
a job lies outside; a scope of the user's manager lies inside. (A D-Bus library would cost more than a whole start.)
The format: https://dbus.freedesktop.org/doc/dbus-specification.html. The call: org.freedesktop.systemd1(5), StartTransientUnit.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

TIMEOUT_S = 5.0
_SYSTEMD = "org.freedesktop.systemd1"
_BUS = "org.freedesktop.DBus"
_CALL, _RETURN, _ERROR = 1, 2, 3


class BusError(Exception):
    """The bus isn't there, or systemd said no; the text says which."""


def bus_path() -> str:
    """The socket of the user's bus; "" where there is none that we can use."""
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    for part in address.split(";"):
        kind, _, words = part.partition(":")
        for word in words.split(","):
            if kind == "unix" and word.startswith("path="):
                return word[len("path=") :]
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return folder + "/bus" if os.path.exists(folder + "/bus") else ""


def start_scope(name: str, pid: int, description: str) -> None:
    """Have the user's manager put `pid` into a new scope that it delegates. Raises BusError.

    The call returns when the job is queued; that the process has moved is seen in its /proc/<pid>/cgroup.
    """
    path = bus_path()
    if not path:
        raise BusError("no bus of this user is there (a login by systemd makes one)")
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(TIMEOUT_S)
        connection.connect(path)
        _authenticate(connection)
        _call(connection, 1, _BUS, "/org/freedesktop/DBus", _BUS, "Hello", "", b"")
        _call(connection, 2, _SYSTEMD, "/org/freedesktop/systemd1", _SYSTEMD + ".Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))",
              _scope(name, pid, description))  # fmt: skip
    except OSError as error:
        raise BusError(f"the bus at {path}: {os.strerror(error.errno) if error.errno else error}") from error
    finally:
        connection.close()


def _authenticate(connection: socket) -> None:
    """The kernel tells the bus who we are; we only say that it should look."""
    connection.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
    answer = b""
    while not answer.endswith(b"\r\n"):
        piece = connection.recv(512)
        if not piece or len(answer) > 4096:
            raise BusError("the bus hung up")
        answer += piece
    if not answer.startswith(b"OK "):
        raise BusError("the bus doesn't let this user in: " + answer.decode("ascii", "replace").strip())
    connection.sendall(b"BEGIN\r\n")


def _call(connection: socket, serial: int, destination: str, path: str, interface: str, member: str, signature: str, body: bytes) -> None:
    fields = b""
    for code, kind, value in ((1, "o", path), (2, "s", interface), (3, "s", member), (6, "s", destination), (8, "g", signature)):
        if value:
            fields = _padded(fields, 8) + bytes([code, 1]) + kind.encode() + b"\0"
            fields = _padded(fields, 1 if kind == "g" else 4) + (_signature(value) if kind == "g" else _string(value))
    head = b"l" + bytes([_CALL, 0, 1]) + _u32(len(body)) + _u32(serial) + _u32(len(fields)) + fields
    connection.sendall(_padded(head, 8) + body)
    while True:
        kind_of, answers, text = _message(connection)
        if answers == serial and kind_of == _RETURN:
            return
        if answers == serial and kind_of == _ERROR:
            raise BusError(text)


def _message(connection: socket) -> tuple[int, int, str]:
    """(type, the serial it answers, its first text) of the next message."""
    head = _exactly(connection, 16)
    order = "little" if head[:1] == b"l" else "big"
    size, fields = (int.from_bytes(head[at : at + 4], order) for at in (4, 12))  # type: ignore[arg-type]
    if size > 1 << 20 or fields > 1 << 16:
        raise BusError("the bus sends nonsense")
    rest = _exactly(connection, (fields + 7 & ~7) + size)
    answers, at = 0, 0
    while at + 4 < fields:
        code, kind = rest[at], rest[at + 2 : at + 3]
        at += 4
        if kind == b"u":
            if code == 5:
                answers = int.from_bytes(rest[at : at + 4], order)  # type: ignore[arg-type]
            at += 4
        elif kind == b"g":
            at += rest[at] + 2
        elif kind in (b"s", b"o"):
            at += 4 + int.from_bytes(rest[at : at + 4], order) + 1  # type: ignore[arg-type]
        else:
            break
        at = at + 7 & ~7
    body = rest[fields + 7 & ~7 :]
    length = int.from_bytes(body[:4], order) if len(body) > 4 else 0  # type: ignore[arg-type]
    return head[1], answers, body[4 : 4 + length].decode("utf-8", "replace")


def _exactly(connection: socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise BusError("the bus hung up")
        data += piece
    return data


# -- marshalling -----------------------------------------------------------------------------------------------------------


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _string(text: str) -> bytes:
    data = text.encode()
    return _u32(len(data)) + data + b"\0"


def _signature(text: str) -> bytes:
    return bytes([len(text)]) + text.encode() + b"\0"


def _padded(data: bytes, to: int) -> bytes:
    return data + b"\0" * (-len(data) % to)


def _scope(name: str, pid: int, description: str) -> bytes:
    """StartTransientUnit's arguments: name, mode, properties, no other units."""
    body = _string(name)
    body = _padded(body, 4) + _string("fail")
    properties = b""
    for key, signature, value in (
        ("Description", "s", _string(description)),
        ("PIDs", "au", _u32(4) + _u32(pid)),
        ("Delegate", "b", _u32(1)),
        ("CollectMode", "s", _string("inactive-or-failed")),
    ):
        properties = _padded(properties, 8) + _string(key)
        properties += _signature(signature)
        properties = _padded(properties, 4) + value
    # An array's length doesn't count the padding before its first element; both arrays' elements lie on multiples of 8.
    body = _padded(body, 4) + _u32(len(properties))
    body = _padded(body, 8) + properties
    body = _padded(body, 4) + _u32(0)
    return _padded(body, 8)

"""Records between commands and monitors: a SEQPACKET message each (docs/internals/monitor.md)."""

from __future__ import annotations

import _socket
import os

from wherry.errors import MonitorError

VERSION = 1
HEADER = 8
# The payload of one record.
MAX_PAYLOAD = 60 * 1024
BUFFER = 64 * 1024 + HEADER

ATTACH, STDIN, STDIN_EOF, RESIZE, SIGNAL, STOP, WAIT, STATUS, POLICY, CLAIM, NEXT_EXIT, NAMES, PAUSE, RELOAD, HEALTH = range(1, 16)
OUT, ERR, EXIT, ERROR, OK, STATUS_TEXT = range(101, 107)

STARTED, FAILED, WARNING = 1, 2, 3

STREAM_STDIN, STREAM_STDOUT, STREAM_STDERR = 1, 2, 4


def record(kind: int, payload: bytes = b"", tag: int = 0) -> bytes:
    return kind.to_bytes(2, "little") + VERSION.to_bytes(2, "little") + tag.to_bytes(4, "little") + payload


def kind_of(message: bytes) -> int:
    return int.from_bytes(message[0:2], "little")


def i64(message: bytes, index: int) -> int:
    """Integer number `index` of a record whose payload begins with 64-bit integers."""
    at = HEADER + 8 * index
    return int.from_bytes(message[at : at + 8], "little", signed=True)


def pack_i64(*values: int) -> bytes:
    return b"".join(v.to_bytes(8, "little", signed=True) for v in values)


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Two connected SEQPACKET sockets. `_socket` alone has no fd-owning Python class on top and imports at no cost."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


def connect(run_folder: str) -> _socket.socket:
    """Connect to the monitor of a container. Raises MonitorError when nobody listens."""
    # A socket's address holds 108 bytes and a run root may be longer, so it is reached through a descriptor of its folder.
    try:
        folder = os.open(run_folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise MonitorError(f"no monitor in {run_folder}: {os.strerror(error.errno or 0)}") from error
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"/proc/self/fd/{folder}/ctl")
    except OSError as error:
        connection.close()
        raise MonitorError(f"no monitor listens at {run_folder}/ctl: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(folder)
    return connection


class Control:
    """A conversation with a monitor: one question, one answer. A context manager."""

    def __init__(self, run_folder: str) -> None:
        self._socket = connect(run_folder)

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def ask(self, kind: int, payload: bytes = b"") -> bytes:
        """Send a record and return the answer (b"" when the monitor has ended). Raises MonitorError for its errors."""
        try:
            self._socket.send(record(kind, payload))
            return self.answer()
        except (BrokenPipeError, ConnectionResetError):
            return b""

    def answer(self) -> bytes:
        try:
            message: bytes = self._socket.recv(BUFFER)
        except ConnectionResetError:
            # Told once, when the monitor has left words of ours unread; what it has sent is still to be had behind it.
            message = self._socket.recv(BUFFER)
        if message and kind_of(message) == ERROR:
            number = i64(message, 0)
            raise MonitorError(os.fsdecode(message[HEADER + 8 :]) or os.strerror(number))
        return message

    def drain(self) -> None:
        """Wait until the monitor is gone."""
        try:
            while self._socket.recv(BUFFER):
                continue
        except ConnectionResetError:
            return

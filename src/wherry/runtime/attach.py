"""The client's side of an attach: bytes between our own descriptors and a container's streams, signals, window sizes.

One loop over poll(2). The socket to the monitor never blocks us while it has output for us, so neither side can wait for the other.
"""

from __future__ import annotations

import _signal
import errno
import fcntl
import os
import select

from wherry.errors import InvalidArgument, MonitorError
from wherry.model.record import Record
from wherry.runtime import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

# Ctrl-P Ctrl-Q, docker's default.
DEFAULT_DETACH_KEYS = b"\x10\x11"
_CHUNK = 32 * 1024
# docker forwards every signal it can catch but those that are about the client itself (CHLD, PIPE, URG).
_PROXIED = tuple(
    getattr(_signal, name)
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCONT", "SIGTSTP", "SIGWINCH")
)


class Outcome(Record):
    """How an attach ended: `exit_code` of the process, or `detached` by the keys."""

    exit_code: int = 0
    detached: bool = False


class Streams(Record):
    """What to attach: our descriptors (-1: not attached), a terminal or pipes, and how to leave."""

    stdin: int = -1
    stdout: int = 1
    stderr: int = 2
    tty: bool = False
    sig_proxy: bool = True
    detach_keys: bytes = DEFAULT_DETACH_KEYS


def parse_detach_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` or letters, comma-separated, to the bytes a terminal sends. "" is the default. Raises InvalidArgument."""
    if not text:
        return DEFAULT_DETACH_KEYS
    keys = bytearray()
    for word in text.split(","):
        if len(word) == 1 and word.isascii():
            keys.append(ord(word))
        elif len(word) == 6 and word.startswith("ctrl-") and (word[5].lower() in "abcdefghijklmnopqrstuvwxyz@[\\]^_"):
            keys.append(ord(word[5].upper()) & 0x1F)
        else:
            raise InvalidArgument(f"Invalid detach keys ({text}) provided: Unknown character: '{word}'")
    return bytes(keys)


def window_size(fd: int) -> tuple[int, int]:
    """Rows and columns of a terminal; (0, 0) when `fd` is none."""
    import termios

    try:
        data = fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return 0, 0
    return int.from_bytes(data[0:2], "little"), int.from_bytes(data[2:4], "little")


class Session:
    """One attached client. `run()` moves bytes until the process ends or the user detaches.

    `control` opens a connection for signals and sizes (a stalled stream must not hold them up); without it they go over
    the stream itself, and no signals are passed on.
    """

    def __init__(self, stream: socket, streams: Streams, control: Callable[[], socket] | None) -> None:
        self._stream = stream
        self._streams = streams
        self._open_control = control
        self._control: socket | None = None
        self._stdin = streams.stdin
        self._pending: bytes = b""
        self._matched = 0
        self._saved_terminal: list[Any] | None = None
        self._old_handlers: list[tuple[int, Any]] = []
        self._wake_in = self._wake_out = -1
        self._ended = False

    # -- before and after ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Session:
        """Catch signals from here on: enter before the container starts, so that none of them is lost or kills us."""
        self._wake_in, self._wake_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._streams.sig_proxy and self._open_control:
            for number in _PROXIED:
                if number == _signal.SIGHUP and (self._streams.tty or _signal.getsignal(number) == _signal.SIG_IGN):
                    continue  # our terminal hangs up: we leave, the container stays; or nohup
                self._old_handlers.append((number, _signal.signal(number, _note)))
        elif self._streams.tty:
            self._old_handlers.append((_signal.SIGWINCH, _signal.signal(_signal.SIGWINCH, _note)))
        self._old_wakeup = _signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_error: object) -> None:
        self._restore_terminal()
        _signal.set_wakeup_fd(self._old_wakeup)
        for number, handler in self._old_handlers:
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)
        os.close(self._wake_in)
        os.close(self._wake_out)
        if self._control is not None:
            self._control.close()

    def _raw_terminal(self) -> None:
        if not self._streams.tty or self._stdin < 0 or not os.isatty(self._stdin):
            return
        import termios

        self._saved_terminal = termios.tcgetattr(self._stdin)
        raw = termios.tcgetattr(self._stdin)
        raw[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )
        raw[1] &= ~termios.OPOST
        raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[6][termios.VMIN] = 1
        raw[6][termios.VTIME] = 0
        termios.tcsetattr(self._stdin, termios.TCSANOW, raw)

    def _restore_terminal(self) -> None:
        if self._saved_terminal is None:
            return
        import termios

        try:
            termios.tcsetattr(self._streams.stdin, termios.TCSANOW, self._saved_terminal)
        except termios.error:
            # The terminal is gone; there is nothing to restore.
            self._saved_terminal = None
        self._saved_terminal = None

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Returns when the process has ended, its output has been written, or the user detached. Raises MonitorError."""
        self._raw_terminal()
        if self._streams.tty:
            self._send_size()
        self._stream.setblocking(False)
        stream = self._stream.fileno()
        while True:
            poll = select.poll()
            poll.register(stream, select.POLLIN | (select.POLLOUT if self._pending else 0))
            poll.register(self._wake_in, select.POLLIN)
            if self._stdin >= 0 and not self._pending:
                poll.register(self._stdin, select.POLLIN)
            for fd, events in poll.poll():
                if fd == self._wake_in:
                    if self._signals():
                        return Outcome(exit_code=128 + _signal.SIGHUP)
                elif fd == self._stdin:
                    if self._read_stdin(events):
                        return Outcome(detached=True)
                elif fd == stream:
                    if events & select.POLLOUT:
                        self._flush()
                    if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                        outcome = self._read_stream()
                        if outcome is not None:
                            return outcome

    def _read_stream(self) -> Outcome | None:
        # Several records a turn, but not for ever: stdin and signals wait for their turn too.
        for _ in range(16):
            try:
                message: bytes = self._stream.recv(wire.BUFFER)
            except BlockingIOError:
                return None
            except ConnectionResetError:
                # The monitor has left words of ours unread; what it has sent is still to be had behind this error.
                continue
            if not message:
                raise MonitorError("the container's monitor was killed", hint="its container has ended with it; see `wherry ps -a`")
            kind = wire.kind_of(message)
            if kind == wire.OUT:
                _write(self._streams.stdout, message)
            elif kind == wire.ERR:
                _write(self._streams.stderr, message)
            elif kind == wire.EXIT:
                return Outcome(exit_code=wire.i64(message, 0))
        return None

    def _read_stdin(self, events: int) -> bool:
        """Pass input on; True when the detach keys were typed."""
        try:
            data = os.read(self._stdin, _CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EBADF):
                raise
            if self._streams.tty and error.errno == errno.EIO:
                return True  # the terminal is gone
            data = b""
        if not data:
            self._stdin = -1
            self._send(wire.record(wire.STDIN_EOF))
            return False
        if self._streams.tty and self._streams.detach_keys:
            data, leave = self._without_keys(data)
            if leave:
                return True
        if data:
            self._send(wire.record(wire.STDIN, data))
        return False

    def _without_keys(self, data: bytes) -> tuple[bytes, bool]:
        """Look for the detach keys, also over several reads; what turns out not to be them is passed on after all."""
        keys = self._streams.detach_keys
        out = bytearray()
        for byte in data:
            if byte == keys[self._matched]:
                self._matched += 1
                if self._matched == len(keys):
                    return bytes(out), True
                continue
            if self._matched:
                out += keys[: self._matched]
                self._matched = 0
                if byte == keys[0]:
                    self._matched = 1
                    continue
            out.append(byte)
        return bytes(out), False

    def _send(self, message: bytes) -> None:
        try:
            self._stream.send(message)
        except BlockingIOError:
            self._pending = message
        except (BrokenPipeError, ConnectionResetError):
            # The process has ended; its exit record is still to be read.
            self._stdin = -1

    def _flush(self) -> None:
        message, self._pending = self._pending, b""
        if message:
            self._send(message)

    # -- signals and sizes --------------------------------------------------------------------------------------------

    def _signals(self) -> bool:
        """Pass signals on; True when our terminal has hung up, so that there is nobody left to show anything to."""
        try:
            numbers = os.read(self._wake_in, 512)
        except BlockingIOError:
            return False
        for number in numbers:
            if number == _signal.SIGWINCH and self._streams.tty:
                self._send_size()
            elif number in _PROXIED and self._open_control and self._streams.sig_proxy:
                self._order(wire.record(wire.SIGNAL, wire.pack_i64(number, 0)))
        return self._streams.tty and _signal.SIGHUP in numbers

    def _send_size(self) -> None:
        rows, columns = window_size(self._streams.stdin if self._streams.stdin >= 0 else self._streams.stdout)
        if rows and columns:
            self._order(wire.record(wire.RESIZE, rows.to_bytes(4, "little") + columns.to_bytes(4, "little")))

    def _order(self, message: bytes) -> None:
        try:
            if self._open_control is None:
                self._stream.send(message)
                return
            if self._control is None:
                self._control = self._open_control()
                self._control.setblocking(False)
            self._control.send(message)
            self._swallow_answers()
        except (OSError, MonitorError):
            # The container is just ending: then there is nobody left to signal or to resize.
            return

    def _swallow_answers(self) -> None:
        if self._control is None:
            return
        try:
            while self._control.recv(wire.BUFFER):
                continue
        except OSError:
            return


def _note(_number: int, _frame: object) -> None:
    """The handler of a proxied signal: the wake-up descriptor has noted it already."""


def _write(fd: int, message: bytes) -> None:
    if fd < 0:
        return
    view = memoryview(message)[wire.HEADER :]
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            # Somebody made our output non-blocking (a shared terminal); wait until it takes more.
            waiter = select.poll()
            waiter.register(fd, select.POLLOUT)
            waiter.poll()

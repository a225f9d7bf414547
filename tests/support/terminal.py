"""A command on a pseudo-terminal of its own, as a person would type to it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from typing import Any


def _own_terminal() -> None:
    # the tests may run under nohup, the command that is tested doesn't
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    def __init__(self, words: list[str], options: dict[str, Any], rows: int, columns: int) -> None:
        self.master, slave = pty.openpty()
        self.output = b""
        self.resize(rows, columns, fd=slave)
        self.initial = termios.tcgetattr(slave)
        self.slave = slave  # kept open, so that the settings can be read after the command has left
        options = {**options, "start_new_session": True, "preexec_fn": _own_terminal}
        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, **options)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_what: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def resize(self, rows: int, columns: int, *, fd: int | None = None) -> None:
        fcntl.ioctl(self.master if fd is None else fd, termios.TIOCSWINSZ, b"".join(n.to_bytes(2, "little") for n in (rows, columns, 0, 0)))
        if fd is None:
            self.process.send_signal(signal.SIGWINCH)

    def type(self, text: str | bytes) -> None:
        os.write(self.master, text.encode() if isinstance(text, str) else text)

    def expect(self, text: str | bytes, timeout_s: float = 10.0) -> bytes:
        """Read until `text` has appeared since the last `expect`; returns what came before it and drops it."""
        wanted = text.encode() if isinstance(text, str) else text
        end = time.monotonic() + timeout_s
        while wanted not in self.output:
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{wanted!r} did not appear; there was {self.output!r}")
        before, _, self.output = self.output.partition(wanted)
        return before

    def wait(self, timeout_s: float = 10.0) -> int:
        end = time.monotonic() + timeout_s
        while self.process.poll() is None:
            self._read(0.02)
            if time.monotonic() > end:
                raise AssertionError(f"the command did not end; there was {self.output!r}")
        while self._read(0.02):
            pass
        return self.process.returncode

    def is_restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.initial

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO)

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], timeout_s)
        if not ready:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.output += data
        return bool(data)

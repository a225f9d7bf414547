"""The progress of pulls and pushes: docker's lines in a pipe, one line a layer on a terminal, kept up to date."""

from __future__ import annotations

import os
import time

from wherry.cli.context import encoded, write
from wherry.model import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine.transfer import Progress

_MOVING = frozenset(("Downloading", "Pushing", "Compressing"))
_REDRAW_S = 0.1


def shown(fd: int) -> Progress:
    """A callback that writes to `fd`."""
    return _Live(fd) if os.isatty(fd) and os.environ.get("TERM", "dumb") != "dumb" else _Plain(fd)


class _Plain:
    """Each change of a layer's status is a line; bytes on their way are none."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._last: dict[str, str] = {}

    def __call__(self, name: str, status: str, _there: int, _all: int) -> None:
        if name and (status in _MOVING or self._last.get(name) == status):
            return
        self._last[name] = status
        write(self._fd, encoded(f"{name}: {status}\n" if name else f"{status}\n"))


class _Live:
    def __init__(self, fd: int) -> None:
        import threading

        self._fd = fd
        self._lock = threading.Lock()
        self._lines: dict[str, int] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._drawn: dict[str, float] = {}

    def __call__(self, name: str, status: str, there: int, all: int) -> None:
        with self._lock:
            if not name:
                write(self._fd, encoded(status + "\n"))
                # What came before stays where it is: layers named from here on get lines below.
                self._lines.clear()
                return
            now = time.monotonic()
            if status in _MOVING and there < all and now - self._drawn.get(name, 0.0) < _REDRAW_S:
                return
            self._drawn[name] = now
            text = f"{name}: {status}{self._detail(name, now, there, all) if status in _MOVING else ''}"
            columns = os.get_terminal_size(self._fd).columns or 80
            text = text[: columns - 1]
            if name in self._lines:
                up = len(self._lines) - self._lines[name]
                write(self._fd, encoded(f"\x1b[{up}A\r\x1b[2K{text}\x1b[{up}B\r"))
            else:
                self._lines[name] = len(self._lines)
                write(self._fd, encoded(f"{text}\n"))

    def _detail(self, name: str, now: float, there: int, all: int) -> str:
        """Bar, bytes, rate and the time that is left."""
        began, first = self._began.setdefault(name, (now, there))
        filled = int(25 * there / all) if all else 0
        text = f" [{'=' * filled}{'>' if filled < 25 else ''}{' ' * max(0, 24 - filled)}]  {sizes.human(there)}"
        if all:
            text += f"/{sizes.human(all)}"
        if now - began > 0.5 and there > first:
            rate = (there - first) / (now - began)
            text += f"  {sizes.human(int(rate))}/s"
            if all:
                text += f"  {int((all - there) / rate)}s"
        return text

"""Progress of a build on a terminal: one line a vertex, redrawn in place; running ones with their last lines, finished ones folded
when there is no room.
"""

from __future__ import annotations

import os
import threading
import time

from wherry.cli.context import write
from wherry.cli.output import ellipsis as cut
from wherry.cli.output import width as columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine.build import Vertex

_PERIOD_S = 0.1
_TAIL = 4
_BLUE, _RED, _PLAIN = "\x1b[34m", "\x1b[31m", "\x1b[0m"


class Graph:
    """A display for standard error, which must be a terminal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._vertexes: list[Vertex] = []
        self._tails: dict[int, list[str]] = {}
        self._warnings: list[str] = []
        self._begun_s = time.monotonic()
        self._drawn = 0
        self._done = threading.Event()
        self._colour = not os.environ.get("NO_COLOR")
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._ticker.start()

    def started(self, vertex: Vertex) -> None:
        with self._lock:
            self._vertexes.append(vertex)

    def status(self, vertex: Vertex, text: str) -> None:
        with self._lock:
            self._tails.setdefault(vertex.number, []).append(text)

    def output(self, vertex: Vertex, stream: int, data: bytes) -> None:
        lines = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        with self._lock:
            tail = self._tails.setdefault(vertex.number, [])
            tail += ["# " + _printable(line) for line in lines if line.strip()]
            del tail[:-_TAIL]

    def ended(self, vertex: Vertex) -> None:
        return

    def warning(self, text: str) -> None:
        with self._lock:
            self._warnings.append(text)

    def close(self, *, failed: bool) -> None:
        """Draw it for the last time, all of it."""
        self._done.set()
        self._ticker.join()
        self._draw("" if failed else "FINISHED")
        for text in self._warnings:
            write(2, os.fsencode(text + "\n"))

    # -- drawing ---------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        while not self._done.wait(_PERIOD_S):
            self._draw("")

    def _draw(self, word: str) -> None:
        width, height = _size()
        with self._lock:
            lines = self._lines(width, height, whole=self._done.is_set())
            over = sum(bool(v.state) for v in self._vertexes)
            head = f"[+] Building {time.monotonic() - self._begun_s:.1f}s ({over}/{len(self._vertexes)}) {word}".rstrip()
        text = f"\x1b[{self._drawn}A" if self._drawn else ""
        text += "".join(f"\r\x1b[2K{line}\n" for line in [head, *lines]) + "\x1b[J"
        self._drawn = len(lines) + 1
        write(2, text.encode("utf-8", "replace"))

    def _lines(self, width: int, height: int, *, whole: bool) -> list[str]:
        rows: list[tuple[Vertex, list[str]]] = []
        for vertex in self._vertexes:
            tail = [] if vertex.state in ("done", "cached") else self._tails.get(vertex.number, [])[-_TAIL:]
            rows.append((vertex, tail))
        room = height - 3
        if not whole:
            # What is over goes first, the oldest of it; then the last lines of what runs.
            while sum(1 + len(tail) for _v, tail in rows) > room and any(v.state for v, _t in rows):
                rows.remove(next(row for row in rows if row[0].state))
            if sum(1 + len(tail) for _v, tail in rows) > room:
                rows = [(v, list[str]()) for v, _tail in rows][-max(1, room) :]
        lines: list[str] = []
        for vertex, tail in rows:
            lines.append(self._line(vertex, width))
            lines += [cut(f" => => {text}", width) for text in tail]
        return lines

    def _line(self, vertex: Vertex, width: int) -> str:
        end = vertex.ended_s if vertex.state else time.monotonic()
        clock = f" {max(0.0, end - vertex.started_s):.1f}s"
        mark = {"cached": "CACHED ", "error": "ERROR ", "canceled": "CANCELED "}.get(vertex.state, "")
        left = cut(f" => {mark}{_printable(vertex.label)}", width - len(clock) - 1)
        line = left + " " * max(0, width - columns(left) - len(clock) - 1) + clock
        if not self._colour or not vertex.state:
            return line
        return f"{_RED if vertex.state == 'error' else _BLUE}{line}{_PLAIN}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _size() -> tuple[int, int]:
    try:
        size = os.get_terminal_size(2)
    except OSError:
        return 80, 24
    return max(20, size.columns or 80), max(6, size.lines or 24)

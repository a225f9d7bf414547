"""Plain progress of a build, in BuildKit's form: numbered vertexes, lines behind their number and time. CI's matchers know it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.engine.build import Vertex


class Plain:
    """A display that writes lines. What is written by `write` may come from several steps in turn; a header says whose it is."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last = 0
        self._partial: dict[int, bytes] = {}

    def started(self, vertex: Vertex) -> None:
        self._head(vertex)

    def _head(self, vertex: Vertex) -> None:
        if self._last == vertex.number:
            return
        gap = "\n" if self._last else ""
        self._last = vertex.number
        self._write(f"{gap}#{vertex.number} {vertex.label}\n")

    def status(self, vertex: Vertex, text: str) -> None:
        self._head(vertex)
        self._write(f"#{vertex.number} {text}\n")

    def output(self, vertex: Vertex, stream: int, data: bytes) -> None:
        lines = (self._partial.pop(vertex.number, b"") + data).split(b"\n")
        if lines[-1]:
            self._partial[vertex.number] = lines[-1]
        self._lines(vertex, lines[:-1])

    def _lines(self, vertex: Vertex, lines: list[bytes]) -> None:
        if not lines:
            return
        import time

        self._head(vertex)
        at = time.monotonic() - vertex.started_s
        text = "".join(f"#{vertex.number} {at:.3f} {line.decode('utf-8', 'surrogateescape').rstrip(chr(13))}\n" for line in lines)
        self._write(text)

    def ended(self, vertex: Vertex) -> None:
        rest = self._partial.pop(vertex.number, b"")
        if rest:
            self._lines(vertex, [rest])
        self._head(vertex)
        if vertex.state == "cached":
            self._write(f"#{vertex.number} CACHED\n")
        elif vertex.state == "done":
            self._write(f"#{vertex.number} DONE {vertex.ended_s - vertex.started_s:.1f}s\n")
        elif vertex.state == "canceled":
            self._write(f"#{vertex.number} CANCELED\n")
        else:
            self._write(f"#{vertex.number} ERROR: {vertex.error}\n")

    def close(self, *, failed: bool) -> None:
        return

    def warning(self, text: str) -> None:
        self._write(f"\n{text}\n")

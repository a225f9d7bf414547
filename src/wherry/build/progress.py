"""What a build reports while it goes on: vertexes with numbers, as BuildKit has them. Who shows them implements `Progress`."""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Display(Protocol):
        """Gets events of one vertex after the other; never two at once."""

        def started(self, vertex: Vertex) -> None: ...

        def status(self, vertex: Vertex, text: str) -> None: ...

        def output(self, vertex: Vertex, stream: int, data: bytes) -> None: ...

        def ended(self, vertex: Vertex) -> None: ...

        def warning(self, text: str) -> None: ...


# Of a failed step's output this much is shown again at the end.
_LOG_BYTES = 64 * 1024
# A step that writes without end is cut off in what is shown (BuildKit's limits are 2 MiB a step and 200 KiB a second).
_SHOWN_BYTES = 16 << 20


class Vertex:
    """One thing that is done: `number` from 1 in the order of starting, `label` as progress shows it.

    `state`: "", "cached", "done", "error", "canceled". Times are monotonic seconds.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.number = 0
        self.state = ""
        self.error = ""
        self.started_s = 0.0
        self.ended_s = 0.0
        self.log = bytearray()
        self.shown_bytes = 0
        self.cut = False


class Reporter:
    """Numbers vertexes and passes events on to a display, one at a time."""

    def __init__(self, display: Display | None) -> None:
        self._display = display
        self._lock = threading.RLock()
        self._count = 0

    def start(self, label: str) -> Vertex:
        vertex = Vertex(label)
        with self._lock:
            self._begin(vertex)
        return vertex

    def _begin(self, vertex: Vertex) -> None:
        self._count += 1
        vertex.number = self._count
        vertex.started_s = time.monotonic()
        if self._display is not None:
            self._display.started(vertex)

    def cached(self, label: str) -> Vertex:
        """A step that the cache has done."""
        vertex = Vertex(label)
        with self._lock:
            self._begin(vertex)
            self._end(vertex, "cached", "")
        return vertex

    def status(self, vertex: Vertex, text: str) -> None:
        with self._lock:
            if self._display is not None:
                self._display.status(vertex, text)

    def output(self, vertex: Vertex, stream: int, data: bytes) -> None:
        """What a step writes; stream 1 or 2."""
        with self._lock:
            vertex.log += data
            if len(vertex.log) > 2 * _LOG_BYTES:
                del vertex.log[:-_LOG_BYTES]
            vertex.shown_bytes += len(data)
            if vertex.shown_bytes > _SHOWN_BYTES:
                if not vertex.cut:
                    vertex.cut = True
                    data = f"\n[output clipped, log limit {_SHOWN_BYTES >> 20}MiB reached]\n".encode()
                else:
                    return
            if self._display is not None:
                self._display.output(vertex, stream, data)

    def done(self, vertex: Vertex) -> None:
        with self._lock:
            self._end(vertex, "done", "")

    def fail(self, vertex: Vertex, error: str, *, canceled: bool = False) -> None:
        with self._lock:
            self._end(vertex, "canceled" if canceled else "error", error)

    def _end(self, vertex: Vertex, state: str, error: str) -> None:
        vertex.ended_s = time.monotonic()
        vertex.state = state
        vertex.error = error
        if self._display is not None:
            self._display.ended(vertex)

    def warn(self, text: str) -> None:
        with self._lock:
            if self._display is not None:
                self._display.warning(text)

"""--progress rawjson: one JSON object a line, in the form of BuildKit's status stream."""

from __future__ import annotations

from wherry.model import jsontext, times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.engine.build import Vertex


class RawJson:
    """A display that writes events."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def started(self, vertex: Vertex) -> None:
        self._vertex(vertex)

    def ended(self, vertex: Vertex) -> None:
        self._vertex(vertex, completed=_now(), cached=vertex.state == "cached", error=vertex.error)

    def status(self, vertex: Vertex, text: str) -> None:
        self._put("statuses", {"id": text, "vertex": _digest(vertex), "timestamp": _now(), "current": 0})

    def output(self, vertex: Vertex, stream: int, data: bytes) -> None:
        import base64

        encoded = base64.b64encode(data).decode()
        self._put("logs", {"vertex": _digest(vertex), "stream": stream, "data": encoded, "timestamp": _now()})

    def warning(self, text: str) -> None:
        import base64

        self._put("warnings", {"level": 1, "short": base64.b64encode(text.encode()).decode()})

    def close(self, *, failed: bool) -> None:
        return

    def _vertex(self, vertex: Vertex, **more: Any) -> None:
        found = {"digest": _digest(vertex), "name": vertex.label, "started": _clock(vertex), **{k: v for k, v in more.items() if v}}
        self._put("vertexes", found)

    def _put(self, kind: str, found: dict[str, Any]) -> None:
        self._write(jsontext.dumps({kind: [found]}) + "\n")


def _digest(vertex: Vertex) -> str:
    from wherry.model import digest

    return digest.of(f"{vertex.number} {vertex.label}".encode("utf-8", "surrogateescape"))


def _now() -> str:
    import time

    return times.format_ns(time.time_ns())


def _clock(vertex: Vertex) -> str:
    import time

    return times.format_ns(time.time_ns() - int((time.monotonic() - vertex.started_s) * 1e9))

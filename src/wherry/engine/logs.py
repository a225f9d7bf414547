"""Reading a container's log: docker's json-file lines, over rotation, with --follow until the container ends."""

from __future__ import annotations

import os
import time

from wherry.errors import Unsupported
from wherry.model import jsontext, times
from wherry.store import actual, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.engine import Engine
    from wherry.store.containers import ContainerRow

_POLL_S = 0.05
_BLOCK = 64 * 1024
_NAME = "log.json"


def logs(
    engine: Engine,
    name: str,
    *,
    follow: bool,
    since_ns: int | None,
    until_ns: int | None,
    tail: int,
    timestamps: bool,
    details: bool = False,
) -> Iterator[tuple[str, bytes]]:
    """Pieces as (stream, bytes), oldest first. `tail` counts lines, -1 is all. Raises Unsupported for the driver `none`."""
    row = containers.find(engine.store.db, name)
    if row.record()["HostConfig"]["LogConfig"]["Type"] == "none":
        raise Unsupported("configured logging driver does not support reading")
    return _read(engine, row, follow=follow, since_ns=since_ns, until_ns=until_ns, tail=tail, timestamps=timestamps, details=details)


def _read(
    engine: Engine,
    row: ContainerRow,
    *,
    follow: bool,
    since_ns: int | None,
    until_ns: int | None,
    tail: int,
    timestamps: bool,
    details: bool,
) -> Iterator[tuple[str, bytes]]:
    folder = engine.store.path("containers", row.id)
    reader = _Follower(folder)
    lines = reader.stored()
    if tail >= 0:
        lines = iter(_last(lines, tail))
    for line in lines:
        piece = _piece(line, since_ns, until_ns, timestamps, details)
        if piece:
            yield piece
    while follow:
        # Look at the state before the file: what was written up to the end is then surely read.
        ended = not actual.read(engine.store, row).alive
        for line in reader.new():
            piece = _piece(line, since_ns, until_ns, timestamps, details)
            if piece:
                yield piece
        if ended or (until_ns is not None and time.time_ns() > until_ns):
            return
        time.sleep(_POLL_S)


class _Follower:
    """The log's files in order, and then whatever is appended, also when the file is rotated under us."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._fd = -1
        self._rest = b""

    def stored(self) -> Iterator[bytes]:
        """Lines of all files, the oldest first."""
        # Open the current file first: what is rotated away meanwhile is then never missed, and by its inode not seen twice.
        self._open()
        seen = {_inode(self._fd)} if self._fd >= 0 else set()
        for number in sorted(self._rotated(), reverse=True):
            try:
                fd = os.open(f"{self._folder}/{_NAME}.{number}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                if _inode(fd) not in seen:
                    seen.add(_inode(fd))
                    yield from self._lines(fd)
            finally:
                os.close(fd)
        self._rest = b""
        yield from self.new()

    def _rotated(self) -> list[int]:
        found = []
        for name in os.listdir(self._folder):
            if name.startswith(_NAME + ".") and name[len(_NAME) + 1 :].isdigit():
                found.append(int(name[len(_NAME) + 1 :]))
        return found

    def new(self) -> Iterator[bytes]:
        """Lines that came since the last call."""
        if self._fd < 0:
            self._open()
        if self._fd < 0:
            return
        yield from self._lines(self._fd)
        if self._was_rotated():
            # The old file got its last line before it was renamed, so read it to its end once more.
            yield from self._lines(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._rest = b""
            self._open()
            if self._fd >= 0:
                yield from self._lines(self._fd)

    def _was_rotated(self) -> bool:
        try:
            return not os.path.samestat(os.fstat(self._fd), os.stat(f"{self._folder}/{_NAME}"))
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        try:
            self._fd = os.open(f"{self._folder}/{_NAME}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._fd = -1

    def _lines(self, fd: int) -> Iterator[bytes]:
        while True:
            block = os.read(fd, _BLOCK)
            if not block:
                return
            *whole, self._rest = (self._rest + block).split(b"\n")
            yield from whole


def _inode(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _last(lines: Iterator[bytes], count: int) -> list[bytes]:
    """The last `count` lines of output; a long line that the log holds in parts counts once."""
    kept: list[list[bytes]] = []
    whole = True
    for line in lines:
        if whole:
            kept.append([])
            if len(kept) > count:
                del kept[0]
        if kept:
            kept[-1].append(line)
        whole = b'\\n","stream"' in line
    return [line for group in kept for line in group]


def _piece(line: bytes, since_ns: int | None, until_ns: int | None, timestamps: bool, details: bool) -> tuple[str, bytes] | None:
    try:
        entry = jsontext.loads(line)
        stamp: str = entry["time"]
        text: str = entry["log"]
        stream: str = entry["stream"]
    except (ValueError, KeyError, TypeError):
        # A line that a crash of the host tore: the ones around it are whole.
        return None
    if since_ns is not None or until_ns is not None:
        at = times.parse_ns(stamp)
        if since_ns is not None and at < since_ns or until_ns is not None and at > until_ns:
            return None
    data = text.encode("utf-8", "surrogateescape")
    if details:
        data = _attributes(entry.get("attrs") or {}) + b" " + data
    return stream, stamp.encode() + b" " + data if timestamps else data


def _attributes(found: dict[str, str]) -> bytes:
    """docker's form: sorted, escaped as in a URL, joined with commas."""
    from urllib.parse import quote_plus

    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(found.items())).encode()
